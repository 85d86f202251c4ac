"""`jvade fit`, `predict`, `inspect`, `doctor`, settings from a file: what they write, what they refuse."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import jvade
from jvade import cli, interrupts
from jvade.columns import learn
from jvade.commands import predict, rows
from jvade.commands.fit import FitSettings
from jvade.data.text import Csv
from jvade.paper.settings import PaperSettings
from jvade.paper.stages import cohort, robust
from jvade.report.terminal import Terminal

ROOT = Path(__file__).parents[1]
VISITS = ("--visits", ROOT / "examples" / "visits.csv", "--mapping", ROOT / "examples" / "visits.toml")
FAST = ("--n-clusters", "3", "--n-runs", "2", "--widths", "8", "--training.max-epochs", "2")
LEARNS = ("--model.learning-rate", "0.02")  # so few epochs tell three groups apart
INPUTS = ("--columns", "age", "code", "sex", "flag", "--categories", "code")


def run(*words):
    """Run a command as the shell would; return its exit code."""
    try:
        cli.main([str(word) for word in words])
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A table of an analyst's own, as CSV and as Parquet."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    group = rng.choice(3, 900)
    frame = pd.DataFrame(
        {
            "age": rng.normal(group * 20 + 20.0, 4).round(1),
            "code": np.array(["01", "02", "03"])[group],
            "sex": np.array(["F", "M"])[rng.integers(0, 2, 900)],
            "flag": (group == 1).astype(int),
            "note": np.arange(900) + 731_000,
        }
    )
    frame.to_csv(folder / "own.csv", index=False)
    frame.to_parquet(folder / "own.parquet", index=False)
    return folder


def short_fit(own, out):
    """Return the words of a short fit to that table."""
    return "fit", "--table", own / "own.parquet", "--out", out, *INPUTS, *FAST, *LEARNS


@pytest.fixture(scope="module")
def fitted(own):
    """A model of that table."""
    assert run(*short_fit(own, own / "fit")) == 0
    return own / "fit"


def test_a_fit_writes_its_model_and_says_what_it_was(fitted, own, capsys):
    labels = pd.read_parquet(fitted / "private" / "labels.parquet")
    assert labels["row"].tolist() == list(range(1, 901))
    model = jvade.load(fitted / "model.jvade")
    frame = pd.read_parquet(own / "own.parquet")[["age", "code", "sex", "flag"]]
    np.testing.assert_array_equal(labels["cluster"], model.predict(frame))
    assert model.feature_names_in_.tolist() == ["age", "code", "sex", "flag"]
    written = json.loads((fitted / "run.json").read_text())
    assert set(written["files"]) == {
        "private/labels.parquet",
        "private/profiles.csv",
        "model.jvade",
        "model.jvade.md",
        "metrics.jsonl",
    }
    assert all((fitted / name).exists() for name in written["files"])
    told = [json.loads(line) for line in (fitted / "metrics.jsonl").read_text().splitlines()]
    assert [(one["stage"], one["epoch"]) for one in told] == [
        (stage, epoch) for stage in ("pretraining", "fine-tuning") for epoch in (0, 2)
    ]
    assert told[-1]["validation_loss/2"] < 100
    assert (fitted / "private").stat().st_mode & 0o077 == 0
    assert not (fitted / "private" / "checkpoints").exists()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_are_placed_as_the_model_does(fitted, own, tmp_path, monkeypatch, kind):
    """In parts smaller than the table, its columns in another order, whatever else it holds."""
    monkeypatch.setattr("jvade.commands.rows.BATCH_ROWS", 256)
    frame = pd.read_parquet(own / "own.parquet").iloc[:, ::-1]
    table = tmp_path / f"new.{kind}"
    frame.to_csv(table, index=False) if kind == "csv" else frame.to_parquet(table, index=False)
    out, also = tmp_path / "placed.parquet", ("memberships", "latents", "bound")
    assert run("predict", "--model", fitted, "--table", table, "--out", out, "--also", *also) == 0
    placed, model = pd.read_parquet(out), jvade.load(fitted / "model.jvade")
    rows = frame[model.feature_names_in_]
    assert placed["row"].tolist() == list(range(1, 901))
    np.testing.assert_array_equal(placed["cluster"], model.predict(rows))
    shares = placed.filter(like="membership").to_numpy()
    np.testing.assert_allclose(shares, model.predict_proba(rows), atol=1e-6)
    np.testing.assert_allclose(placed.filter(like="latent").to_numpy(), model.transform(rows), atol=1e-6)
    np.testing.assert_allclose(placed["bound"], model.score_samples(rows), rtol=1e-5)


def test_visits_go_through_their_mapping(tmp_path, capsys):
    """Those dropped by its rules have no cluster; another mapping is told of."""
    assert run("fit", *VISITS, "--out", tmp_path / "fit", *FAST) == 0
    out = tmp_path / "placed.parquet"
    assert run("predict", "--model", tmp_path / "fit", *VISITS, "--out", out) == 0
    labels = pd.read_parquet(tmp_path / "fit" / "private" / "labels.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(out), labels, check_dtype=False)
    assert len(labels) < 2000
    assert out.stat().st_mode & 0o777 == 0o600
    printed = capsys.readouterr().out
    assert "this mapping is not" not in printed
    assert printed.splitlines()[-1].endswith("a row per visit: not to be passed on")
    model = jvade.load(tmp_path / "fit" / "model.jvade")
    # Of the codes of one variable, as the study's own stage has it.
    inputs = {
        one.name: one for one in cohort.read(PaperSettings(visits=VISITS[1], mapping=VISITS[3]))[0].inputs
    }
    assert model.ensemble_.architecture.blocks == robust.blocks([inputs[c.name] for c in model.columns_.each])
    about = model.about_
    assert set(about["source"]) == {"visits", "mapping"}
    other = tmp_path / "other.toml"
    other.write_text(VISITS[3].read_text() + "\n# of another year\n")
    words = ("predict", "--model", tmp_path / "fit", "--visits", VISITS[1], "--out", out)
    assert run(*words, "--mapping", other) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "this mapping is not the one the model was fitted through" in printed
    assert "first visit, at the fit" not in printed
    # Without what came before them, most are a patient's first.
    late = pd.read_csv(VISITS[1], dtype=str).tail(200)
    late.to_csv(tmp_path / "late.csv", index=False)
    words = ("predict", "--model", tmp_path / "fit", "--visits", tmp_path / "late.csv", "--out", out)
    assert run(*words, "--mapping", VISITS[3]) == 0
    first = 100 * about["share of first visits"]
    assert f"are a patient's first visit, at the fit {first:.0f} % were" in " ".join(
        capsys.readouterr().out.split()
    )


def test_ctrl_c_that_got_lost_ends_the_placing(fitted, own, tmp_path, monkeypatch):
    """However few rows there are; no half of the output is left."""
    place = predict.place

    def pressed(*arguments):
        interrupts._asked.set()
        return place(*arguments)

    monkeypatch.setattr(predict, "place", pressed)
    out = tmp_path / "placed.parquet"
    assert run("predict", "--model", fitted, "--table", own / "own.parquet", "--out", out) == 130
    assert not out.exists()


def test_codes_that_look_like_numbers_are_categories_all_the_same(own, tmp_path, monkeypatch, capsys):
    """In a CSV as in a Parquet file, whatever part of it comes first; unknown ones are told of."""
    monkeypatch.setattr("jvade.commands.rows.BATCH_ROWS", 100)
    frame = pd.read_parquet(own / "own.parquet")[["age", "code"]].assign(site=np.repeat([1, 2, 3], 300))
    mixed = frame.assign(site=np.repeat(["1", "2", "A"], 300))
    mixed.to_csv(tmp_path / "mixed.csv", index=False)
    frame.to_parquet(tmp_path / "whole.parquet")
    words = ("--table", tmp_path / "mixed.csv", "--categories", "code", *FAST)
    assert run("fit", *words, "--out", tmp_path / "fit") == 0
    model = jvade.load(tmp_path / "fit" / "model.jvade")
    assert [column.categories for column in model.columns_.each][1:] == [("01", "02", "03"), ("1", "2", "A")]
    out = tmp_path / "placed.parquet"
    assert (
        run("predict", "--model", tmp_path / "fit", "--table", tmp_path / "whole.parquet", "--out", out) == 0
    )
    np.testing.assert_array_equal(pd.read_parquet(out)["cluster"][:600], model.predict(mixed)[:600])
    assert "column 'site': 300 rows have a category that the model does not know" in capsys.readouterr().out


def test_words_for_a_blank_are_blanks_of_a_table_too(own, fitted, tmp_path):
    frame = pd.read_parquet(own / "own.parquet").astype({"age": object})
    tables = [frame.assign(age=["", *frame["age"][1:]]), frame.assign(age=["\\N", *frame["age"][1:]])]
    for i, table in enumerate(tables):
        table.to_csv(tmp_path / f"{i}.csv", index=False)
        words = ("--table", tmp_path / f"{i}.csv", "--out", tmp_path / f"{i}.parquet")
        assert run("predict", "--model", fitted, *words) == 0
    pd.testing.assert_frame_equal(*map(pd.read_parquet, sorted(tmp_path.glob("*.parquet"))))


def test_a_table_without_rows_is_refused(own, fitted, tmp_path, capsys):
    empty = pd.read_parquet(own / "own.parquet").head(0)
    empty.to_csv(tmp_path / "empty.csv", index=False)
    empty.to_parquet(tmp_path / "empty.parquet")
    for name in ("empty.csv", "empty.parquet"):
        assert run("fit", "--table", tmp_path / name, "--out", tmp_path / "x") == 2
        assert run("predict", "--model", fitted, "--table", tmp_path / name, "--out", tmp_path / "x") == 2
        assert capsys.readouterr().err.count(f"{name}: the table has no rows") == 2
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("fit/run.json", "this is a file of the run of the model"),
        ("fit/private/labels.parquet", "this is a file of the run of the model"),
        ("placed.xlsx", "expected a name in .parquet or .csv (.pq, .tsv and .txt will do), got placed.xlsx"),
        ("own.parquet", "this is the table itself"),
        ("fit/model.jvade", "this is the model"),
        ("fit/../fit/model.jvade.md", "this is the card of the model"),
        ("fit", "is a folder; name a file in it"),
    ],
)
def test_what_is_read_is_not_written_over(own, fitted, capsys, out, words):
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    for model in (fitted, fitted / "model.jvade"):
        assert run("predict", "--model", model, "--table", own / "own.parquet", "--out", own / out) == 2
        assert words in capsys.readouterr().err
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before


def test_nothing_is_written_into_the_table_or_over_the_mapping(own, fitted, tmp_path, capsys):
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "0.parquet").write_bytes((own / "own.parquet").read_bytes())
    words = ("predict", "--model", fitted, "--out")
    assert run(*words, parts / "placed.parquet", "--table", parts) == 2
    assert "would become a part of the table" in capsys.readouterr().err
    mapping = tmp_path / "visits.toml"
    mapping.write_bytes(VISITS[3].read_bytes())
    assert run(*words, mapping, *VISITS[:2], "--mapping", mapping) == 2
    assert "this is the mapping" in capsys.readouterr().err
    assert run("simulate", "--visits", "2000", "--out", tmp_path / "district") == 0
    visits = (
        "--visits",
        tmp_path / "district" / "visits",
        "--mapping",
        tmp_path / "district" / "mapping.toml",
    )
    capsys.readouterr()
    assert run(*words, tmp_path / "district" / "institutions.parquet", *visits) == 2
    assert "this is a table of the mapping" in capsys.readouterr().err
    assert [path.name for path in parts.iterdir()] == ["0.parquet"]
    assert mapping.read_bytes() == VISITS[3].read_bytes()


def test_a_file_named_csv_is_csv(own, fitted, tmp_path):
    words = ("predict", "--model", fitted, "--table", own / "own.parquet", "--also", "memberships", "--out")
    assert run(*words, tmp_path / "placed.parquet") == 0
    want = pd.read_parquet(tmp_path / "placed.parquet")
    for name, sep in (("placed.csv", ","), ("placed.TSV", "\t"), ("placed.txt", "\t")):
        assert run(*words, tmp_path / name) == 0
        got = pd.read_csv(tmp_path / name, sep=sep)
        pd.testing.assert_frame_equal(got, want, check_dtype=False, rtol=1e-5)
    assert want["cluster"].dtype == np.int32


def test_a_table_is_read_as_visits_are(own, fitted, tmp_path, capsys):
    """Fields parted by other signs, folders of parts, packed files; and what is no table is named so."""
    frame = pd.read_parquet(own / "own.parquet")
    frame.to_csv(tmp_path / "own.csv", index=False, sep=";")
    frame.to_csv(tmp_path / "own.csv.gz", index=False)
    frame.to_csv(tmp_path / "OWN.TSV", index=False, sep="\t")
    (tmp_path / "OWN.CSV.GZ").write_bytes((tmp_path / "own.csv.gz").read_bytes())
    (tmp_path / "parts").mkdir()
    frame[:500].to_csv(tmp_path / "parts" / "0.csv", index=False)
    frame[500:].to_csv(tmp_path / "parts" / "1.csv", index=False)
    words = ("predict", "--model", fitted)
    assert run(*words, "--table", own / "own.parquet", "--out", tmp_path / "want.parquet") == 0
    for name in ("own.csv", "own.csv.gz", "OWN.TSV", "OWN.CSV.GZ", "parts"):
        assert run(*words, "--table", tmp_path / name, "--out", tmp_path / "placed.parquet") == 0
        pd.testing.assert_frame_equal(*map(pd.read_parquet, tmp_path.glob("*.parquet")))
    data = frame.assign(sex="女性").to_csv(index=False, sep=";", decimal=",")
    (tmp_path / "chinese.csv").write_bytes(data.encode("gb18030"))
    chinese = ("--table", tmp_path / "chinese.csv", "--out", tmp_path / "placed.parquet")
    assert run(*words, *chinese, "--csv.charset", "gb18030", "--csv.decimal", ",") == 0
    pd.testing.assert_frame_equal(*map(pd.read_parquet, tmp_path.glob("*.parquet")))
    in_words = rows.batches(tmp_path / "chinese.csv", ["sex"], ["sex"], written=Csv("gb18030", ","))
    assert set(next(in_words)["sex"]) == {"女性"}  # and no number
    read = next(rows.batches(tmp_path / "chinese.csv", written=Csv("gb18030", ","), whole=True))
    assert (read["sex"] == "女性").all()
    (tmp_path / "none.csv").write_text("")
    (tmp_path / "long.csv").write_text("a,b\n" + "1,2\n" * 20 + "3,4,41.5\n" + "1,2\n" * 20)
    (tmp_path / "short.csv").write_text("a,b\n" + "1,2\n" * 20 + "41.5\n" + "1,2\n" * 20)
    (tmp_path / "bare.csv").write_text("Zhang San,41.5\nLi Si,17.25\n" * 9)
    frame.drop(columns="sex").to_csv(tmp_path / "parts" / "2.csv", index=False)
    capsys.readouterr()
    for name, said in (
        ("none.csv", "the file is empty"),
        ("long.csv", "a line has more or fewer fields than the header"),
        ("short.csv", "a line has more or fewer fields than the header"),
        ("bare.csv", "the first line holds numbers or dates instead of column names"),
        ("parts", "column 'sex': only in 0.csv; parts must have the same columns"),
        ("chinese.csv", "the text is not UTF-8; save the file as UTF-8, or give --csv.charset gb18030"),
    ):
        assert run("fit", "--table", tmp_path / name, "--out", tmp_path / "x") == 2
        err = capsys.readouterr().err
        assert said in err
        assert not any(value in err for value in ("Zhang", "41.5"))
    for some, charset, said in (
        (VISITS, "gb18030", "--csv: visits are written as their mapping says"),
        (chinese[:2], "gb18031", "--csv.charset: expected the name of a text encoding"),
        (("--table", own / "own.parquet"), "gb18030", "own.parquet: --csv: this is no CSV;"),
    ):
        assert run(*words, *some, "--out", tmp_path / "x.parquet", "--csv.charset", charset) == 2
        assert said in capsys.readouterr().err


def test_a_person_is_told_of_rows_that_a_model_cannot_tell(own, fitted, tmp_path, capsys):
    """A column without values, and words among numbers: never by their values."""
    frame = pd.read_parquet(own / "own.parquet")
    number = frame.select_dtypes("number").columns[0]
    frame.assign(**{number: np.nan}).to_csv(tmp_path / "empty.csv", index=False)
    frame.assign(**{number: ["41.5", "Zhang", *["17"] * 898]}).to_csv(tmp_path / "words.csv", index=False)
    words = ("predict", "--model", fitted, "--out", tmp_path / "placed.parquet")
    assert run(*words, "--table", own / "own.parquet") == 0
    assert "warning" not in capsys.readouterr().out
    assert run(*words, "--table", tmp_path / "empty.csv") == 0
    assert f"column '{number}': no value in 900 of 900 rows" in capsys.readouterr().out
    assert run(*words, "--table", tmp_path / "words.csv") == 2
    err = capsys.readouterr().err
    assert "got others in 1 of 900 rows" in err
    assert "Zhang" not in err


def test_codes_with_leading_zeros_are_categories_and_a_person_is_told(tmp_path, capsys):
    rng = np.random.default_rng(0)
    codes = np.array(["00101", "00207", "11300"])[rng.integers(0, 3, 200)]
    pd.DataFrame({"age": rng.normal(size=200), "code": codes, "flag": rng.integers(0, 2, 200)}).to_csv(
        tmp_path / "own.csv", index=False
    )
    words = ("fit", "--table", tmp_path / "own.csv", "--out", tmp_path / "x", *FAST)
    assert run(*words) == 0
    said = capsys.readouterr().out
    assert "numbers: age\n  0/1: flag\n  categories: code\n" in said
    profile = pd.read_csv(tmp_path / "x" / "private" / "profiles.csv", dtype={"category": str})
    labels = pd.read_parquet(tmp_path / "x" / "private" / "labels.parquet")["cluster"]
    assert profile["category"].fillna("").tolist() == ["", "00101", "00207", "11300", ""]
    for k in range(labels.max() + 1):
        share = 100 * (codes[labels == k] == "00207").mean()
        assert profile.set_index("category").loc["00207", str(k)] == pytest.approx(share)
    assert profile["all"][1:4].sum() == pytest.approx(100)


def test_codes_of_one_variable_are_named_on_the_command_line(tmp_path, capsys):
    """They share a softmax in the model that is kept; visits have theirs by their mapping."""
    rng = np.random.default_rng(0)
    ill, seen = rng.integers(0, 4, 300), rng.integers(0, 3, 300)
    dx = {f"dx_{i}": (ill == i).astype(int) for i in (1, 2, 3)}
    place = {"ward": (seen == 1).astype(int), "clinic": (seen == 2).astype(int)}
    frame = pd.DataFrame({"age": rng.normal(20.0 * ill)} | dx | place | {"flag": rng.integers(0, 2, 300)})
    frame.to_csv(tmp_path / "own.csv", index=False)
    table = ("--table", tmp_path / "own.csv")
    (tmp_path / "settings.toml").write_text('codes = ["diagnosis = dx_*", "place=ward, clinic"]')
    words = ("--settings", tmp_path / "settings.toml", *table, *FAST)
    assert run("fit", "--out", tmp_path / "fit", *words) == 0
    said = capsys.readouterr().out
    assert "  0/1: flag\n  codes of diagnosis: dx_1, dx_2, dx_3\n  codes of place: ward, clinic\n" in said
    card = (tmp_path / "fit" / "model.jvade.md").read_text()
    assert "- codes of diagnosis: dx_1, dx_2, dx_3.\n- codes of place: ward, clinic.\n" in card
    model = jvade.load(tmp_path / "fit" / "model.jvade")
    assert [(b.likelihood, b.width) for b in model.ensemble_.architecture.blocks] == [
        ("gaussian", 1),
        ("categorical", 3),
        ("categorical", 2),
        ("bernoulli", 1),
    ]


def test_a_fit_into_its_own_table_is_refused(own, tmp_path, capsys):
    """It would be clustered by its own labels the next time."""
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "0.parquet").write_bytes((own / "own.parquet").read_bytes())
    for command in ("fit", "sweep"):
        assert run(command, "--table", parts, "--out", parts / "x") == 2
        assert "would become a part of the table" in capsys.readouterr().err
    assert [path.name for path in parts.iterdir()] == ["0.parquet"]


def test_a_stopped_process_ends_with_its_code(own, tmp_path):
    """Ctrl-C in a training: no traceback, no crash of what still runs, and the next run goes on."""
    words = ["fit", "--table", own / "own.parquet", "--columns", "age", "flag", "--n-clusters", "3"]
    words += ["--training.max-epochs", "100000", "--model.patience", "100000", "--out", tmp_path / "x"]
    # A shell's background job ignores ctrl-C, and would hand that down.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "jvade", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    metrics = tmp_path / "x" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and len(metrics.read_text().splitlines()) > 1):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)  # a compilation ends first
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "stopped; the same command goes on from what is kept" in out
    assert list((tmp_path / "x" / "private" / "checkpoints").rglob("pretraining-*"))


def test_a_table_that_tells_nothing_is_refused(tmp_path, capsys):
    pd.DataFrame({"age": [41.5, 17.25, 3.0], "same": 1}).to_csv(tmp_path / "own.csv", index=False)
    words = ("fit", "--table", tmp_path / "own.csv", "--n-clusters", "2", "--out", tmp_path / "x")
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert "own.csv: no column tells rows apart: none has 8 rows or more with another value" in said
    assert not (tmp_path / "x").exists()


def test_the_package_runs_and_names_its_version():
    done = subprocess.run(
        [sys.executable, "-m", "jvade", "--version"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"jvade {jvade.__version__}\n"


def test_help_names_nothing_of_the_program(capsys):
    for command in ("fit", "sweep", "predict", "doctor", "paper", "report", "inspect"):
        assert run(command, "--help") == 0
        assert "Architecture" not in capsys.readouterr().out


def test_a_disk_that_is_full_at_the_end_loses_no_training(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jvade.checkpoints.EVERY", 0.0)
    words = short_fit(own, tmp_path / "x")
    with monkeypatch.context() as patched:

        def full(*_):
            raise OSError(28, "No space left on device")

        patched.setattr("jvade.model_file.safetensors.save", full)
        assert run(*words) == 1
    assert "No space left on device" in capsys.readouterr().err
    began = []
    monkeypatch.setattr("jvade.hooks.show", lambda _: lambda progress: began.append(progress.begun))
    assert run(*words) == 0
    assert began == [2, 2]  # both stages had ended
    assert jvade.load(tmp_path / "x").n_rows_ == 900
    assert not (tmp_path / "x" / "private" / "checkpoints").exists()
    assert "will be replaced" not in capsys.readouterr().out
    assert run(*words) == 0
    assert f"the model in {tmp_path / 'x'} will be replaced" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("sign", [",", "."])
def test_signs_that_part_thousands_are_no_decimals(own, fitted, tmp_path, capsys, sign):
    """Nor do we advise to take them for decimals; where other numbers of digits follow some, they are."""
    frame, word = pd.read_csv(own / "own.csv", dtype={"code": str}), {",": "comma", ".": "point"}[sign]
    said, other = ("three digits follow it everywhere", {",": ".", ".": ","}[sign])
    cost = [*["88"] * 450, *[f"1{sign}234"] * 450]
    for name, values, expected in (
        ("thousands", cost, said),
        ("decimals", [*cost[1:], f"88{sign}5"], f"numbers with a decimal {word}; where that is the sign"),
        ("large", [*cost[1:], "1234"], f"numbers with a decimal {word}; where that is the sign"),
        ("few", ["0"] * 898 + [f"1{sign}125"] * 2, f"numbers with a decimal {word}; where that is the sign"),
    ):
        file = tmp_path / f"{name}.csv"
        frame.assign(age=values).to_csv(file, index=False)
        for words in (
            ("fit", "--out", tmp_path / "x", "--n-clusters", "999"),  # too many, as is said later
            ("predict", "--model", fitted, "--out", tmp_path / "y"),
        ):
            assert run(*words, "--table", file, "--csv.decimal", other) == 2
            err = " ".join(capsys.readouterr().err.split())
            assert f"column 'age': {expected}" in err or f"a {word} in its numbers; {expected}" in err
            assert ("--categories" in err) == (words[0] == "fit" and name != "thousands")
            if sign == ",":
                told = run(*words, "--table", file, "--csv.decimal", sign)
                assert (told == 2) == (words[0] == "fit" or name == "thousands")
                assert (said in capsys.readouterr().err) == (name == "thousands")


def test_columns_that_tell_nothing_are_named_before_they_train(own):
    said = io.StringIO()
    frame = pd.DataFrame({"age": range(20), "empty": np.nan, "same": ["x"] * 18 + ["y", "z"]})
    columns = learn(frame)
    found = rows.Rows("own", frame, np.arange(20), None, None, {}, [])
    rows.say_columns(FitSettings(out=own, table=own), found, columns, Terminal(Console(file=said, width=200)))
    assert "column 'same': 10 % of the rows have a category of fewer than 8 rows" in said.getvalue()
    assert "numbers: age, empty\n  categories: same\n" in said.getvalue()
    assert "warning: columns that tell nothing" in said.getvalue()
    assert "unlike the rest: empty, same" in said.getvalue()


def test_settings_from_a_file_are_flags(own, tmp_path, capsys):
    """The same run by a file and by flags; a flag goes before the file."""
    file = tmp_path / "settings.toml"
    file.write_text(
        'n_clusters = [2, 3]\nseed = 7\nconfiguration = "paper"\nresume = false\nwidths = [8]\n'
        f'table = "{own / "own.csv"}"\ncolumns = ["age", "flag"]\n[training]\nmax_epochs = 2\n'
        "[model]\nlatent_dim = 3\n"
    )
    assert run("fit", "--settings", file, "--seed", "9", "--out", tmp_path / "file") == 0
    words = [
        "--n-clusters",
        "2",
        "3",
        "--configuration",
        "paper",
        "--widths",
        "8",
        "--columns",
        "age",
        "flag",
    ]
    words += ["--training.max-epochs", "2", "--model.latent-dim", "3", "--seed", "9"]
    assert run("fit", "--table", own / "own.csv", "--no-resume", *words, "--out", tmp_path / "flags") == 0
    one, two = (
        json.loads((tmp_path / name / "run.json").read_text())["settings"] for name in ("file", "flags")
    )
    assert one | {"out": ""} == two | {"out": ""}
    assert (one["seed"], one["n_runs"], one["model"]["latent_dim"]) == (9, 1, 3)
    models = [jvade.load(tmp_path / name / "model.jvade") for name in ("file", "flags")]
    np.testing.assert_array_equal(models[0].means_, models[1].means_)


def test_flags_of_a_file():
    raw = {"a_b": 1, "c": [1, 2], "d": {"e": True, "f": False, "g": {"h": "x"}}, "i": False}
    assert cli._flags(raw, "--") == [
        ["--a-b", "1"],
        ["--c", "1", "2"],
        ["--d.e"],
        ["--d.no-f"],
        ["--d.g.h", "x"],
        ["--no-i"],
    ]


def test_a_model_says_what_it_is(fitted, capsys):
    assert run("inspect", fitted) == 0
    assert capsys.readouterr().out.startswith("# Model card")
    assert run("inspect", fitted / "model.jvade", "--json") == 0
    says = json.loads(capsys.readouterr().out)
    assert (says["rows"], says["n_clusters"]) == (900, 3)


def test_the_doctor_says_what_there_is_and_what_it_takes(capsys):
    assert run("doctor", "--quick", "--json", "--rows", "1000000") == 0
    says = json.loads(capsys.readouterr().out)
    assert says["versions"]["jvade"] == jvade.__version__
    assert says["needs"]["memory_gb"] > 0.5
    assert run("doctor", "--quick", "--rows", "100000000") == 0
    out = capsys.readouterr().out
    assert "warning: that is more than there is" in out
    assert re.search(r"^\d+ CPU cores$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("n_rows", "seconds"), [(4096, (20 + 40) / 8), (32_768, 60), (65_536, 75), (10**7, 75)]
)
def test_the_doctor_counts_the_epochs_of_each_stage_and_their_rows(capsys, monkeypatch, n_rows, seconds):
    """An epoch of 32,768 rows, four fifths of them trained on, takes a second; one has 32,768 at most.

    Of a small table the batches are small too: 32 of 256 rows, of 4,096.
    """
    monkeypatch.setattr(
        "jvade.commands.models.time_epochs",
        lambda _, n_timed, __: (7.0, dict.fromkeys(("pretraining", "fine-tuning"), n_timed / 32_768)),
    )
    assert run("doctor", "--json", "--rows", str(n_rows), "--columns", "5") == 0
    needs = json.loads(capsys.readouterr().out)["needs"]
    assert needs["seconds_at_most"] == pytest.approx(seconds, abs=0.6)
    assert needs["compilation_seconds"] == 7
    assert run("doctor", "--rows", str(n_rows), "--columns", "5") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"at most \d+ s of training, .* after some 7 s of compilation", said)


@pytest.mark.long
def test_the_doctor_times_a_short_training(capsys, monkeypatch):
    monkeypatch.setattr("jvade.commands.models.TIMED_ROWS", 2048)
    assert run("doctor", "--json", "--rows", "2048", "--columns", "5", "--configuration", "paper") == 0
    needs = json.loads(capsys.readouterr().out)["needs"]
    assert 0 < needs["seconds_at_most"] < 1000
    assert needs["compilation_seconds"] >= 0  # 0 where all of it was kept


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fit", "--out", "x"), "give either --visits with --mapping, or --table"),
        (("fit", "--out", "x", "--table", "a.csv", "--mapping", "m.toml"), "--visits and --mapping belong"),
        (("fit", "--out", "x", "--table", "absent.csv"), "absent.csv: there is no such file"),
        (
            ("fit", "--out", "x", "--table", "OWN", "--columns", "age", "years"),
            "column 'years': not in the table",
        ),
        (
            ("predict", "--model", "FIT", "--table", "OWN", "--out", "x", "--csv.charset", "utf-16"),
            "own.csv: the text is UTF-8, not utf-16; leave --csv.charset out",
        ),
        (
            ("fit", "--out", "x", "--table", "OWN", "--columns", "ages"),
            "column 'ages': not in the table; the closest is 'age'",
        ),
        (
            ("fit", "--out", "x", "--table", "OWN", "--codes", "dx"),
            "--codes: expected VARIABLE=COLUMN,COLUMN or VARIABLE=PREFIX*, got 'dx'",
        ),
        (("fit", "--out", "x", "--table", "OWN", "--codes", "dx=flag,"), "--codes: expected VARIABLE=COLUMN"),
        (
            ("fit", "--out", "x", "--table", "OWN", "--codes", "dx=flags"),
            "--codes dx: no column 'flags' among the inputs; the closest is 'flag'",
        ),
        (
            ("fit", "--out", "x", "--table", "OWN", "--codes", "a=flag", "--codes", "b=flag"),
            "--codes: given 2 times; name all after one",
        ),
        (
            ("fit", "--out", "x", "--table", "OWN", "--codes", "a=flag", "--configuration", "paper"),
            "by kind, here they are gaussian; add --likelihood by-kind",
        ),
        (
            ("fit", "--out", "x", "--table", "OWN", "--codes", "dx=flag", "of=fl*"),
            "--codes of: codes of dx already: flag",
        ),
        (
            ("fit", "--out", "x", "--table", "OWN", "--codes", "dx=age"),
            "column 'age': expected 0 or 1 in every row of a binary column",
        ),
        (("fit", "--out", "x", *VISITS, "--codes", "dx=age"), "--categories, --codes: visits have those"),
        (("fit", "--out", "x", "--table", "OWN", "--n-clusters", "0"), "expected numbers of at least 1"),
        (("fit", "--out", "x", "--table", "OWN", "--mixture.n-init", "0"), "n_init: expected a whole number"),
        (("doctor", "--rows", "-5", "--quick"), "--rows: expected at least 1, got -5"),
        (("fit", "--out", "x", "--table", "OWN", "--n-runs", "0"), "n_runs: expected a whole number"),
        (("fit", "--out", "x", "--table", "OWN", "--model.noise-variance", "-1"), "noise_variance: expected"),
        (("fit", "--out", "x", "--table", "OWN", "--n-clusters", "900"), "900 rows are too few"),
        (("fit", "--out", "x", "--settings", "absent.toml"), "absent.toml: the file cannot be opened"),
        (("fit", "--out", "x", "--settings", "OWN"), "this is no TOML"),
        (
            ("predict", "--model", "absent", "--table", "OWN", "--out", "x"),
            "absent: the file cannot be opened",
        ),
        (("predict", "--model", "OWN", "--table", "OWN", "--out", "x"), "this is no model of jvade"),
        (("predict", "--model", "FIT", "--table", "VISITS", "--out", "x"), "column 'code': not in the table"),
        (("predict", "--model", "FIT", *VISITS, "--out", "x"), "not fitted to visits through a mapping"),
        (("inspect", "OWN"), "this is no model of jvade"),
    ],
)
def test_what_cannot_be_used_is_said_and_nothing_written(
    own, fitted, tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    named = {"OWN": own / "own.csv", "FIT": fitted, "VISITS": VISITS[1]}
    assert run(*[named.get(word, word) for word in words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_that_refused_settings_may_be_from_is_named(tmp_path, capsys):
    """Whether what they are or what they say cannot be; where something else is wrong it is not."""
    file = tmp_path / "my.toml"
    for text in ("n_runs = 0\n", 'seed = "x"\n', "[model]\nno_such = 1\n", "[training]\nbatch_size = 0\n"):
        file.write_text(text)
        assert run("fit", "--settings", file, "--table", "absent.csv", "--out", tmp_path / "x") == 2
        assert "jvade: settings came from my.toml too" in capsys.readouterr().err
    file.write_text("n_runs = 1\n")
    assert run("fit", "--settings", file, "--table", "absent.csv", "--out", tmp_path / "x") == 2
    assert "my.toml" not in capsys.readouterr().err


def test_a_tracker_that_is_not_there_is_said(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jvade.commands.fit.find_spec", lambda name: None)
    words = ("fit", "--table", own / "own.csv", "--track", "mlflow", "--out", tmp_path / "x")
    assert run(*words) == 2
    assert "pip install 'jvade[mlflow]'" in capsys.readouterr().err


def test_no_value_is_shown_of_a_table_that_cannot_be_used(own, tmp_path, capsys):
    frame = pd.read_parquet(own / "own.parquet")
    names = frame.assign(code=[f"Zhang {i}" for i in range(900)])
    names.to_csv(tmp_path / "names.csv", index=False)
    assert run("fit", "--table", tmp_path / "names.csv", "--out", tmp_path / "x") == 2
    said = "".join(capsys.readouterr())
    assert "column 'code': none of its 900 categories has 8 rows or more" in said
    assert "Zhang" not in said
    assert "note: another value in every row" in said


def child(words, limit=None):
    """Run a command in a process of its own, whose files may have so many bytes at most.

    The state of a training is kept after every block.
    """
    limits = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); " if limit else ""
    kept = "from jvade import checkpoints; checkpoints.EVERY = 0.0"
    code = f"import resource; {kept}; {limits}from jvade.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_full_disk_is_said_and_loses_nothing(fitted, own, tmp_path):
    """A file that cannot grow stands for it: the model and the clusters of before stay as they were."""
    out = tmp_path / "placed.parquet"
    words = ["predict", "--model", fitted, "--table", own / "own.csv", "--out", out]
    assert child(words).returncode == 0
    before = out.read_bytes()
    done = child([*words, "--also", "latents"], limit=512)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["placed.parquet"]


@pytest.mark.long
def test_a_disk_that_fills_up_in_a_fit_is_said_and_the_fit_goes_on(own, tmp_path):
    words = short_fit(own, tmp_path / "fit")
    done = child(words, limit=3000)
    assert done.returncode == 1
    # A line of its own, whatever orbax logs.
    assert re.search("^jvade: the state of the training cannot be kept", done.stderr, re.MULTILINE)
    assert not (tmp_path / "fit" / "model.jvade").exists()
    assert child(words).returncode == 0
    assert jvade.load(tmp_path / "fit" / "model.jvade").n_rows_ == 900


def test_a_folder_that_cannot_be_written_is_said(fitted, own, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "placed.parquet"
    assert run("predict", "--model", fitted, "--table", own / "own.csv", "--out", out) == 1
    assert "jvade: " in capsys.readouterr().err
    assert run("fit", "--table", own / "own.csv", "--out", tmp_path / "file", *FAST) == 1
    assert "jvade: " in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"
