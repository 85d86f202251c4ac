"""The commands around tables, through the command line, in one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jvade.cli import main
from jvade.data.mapping import read_mapping
from jvade.data.matrix import Encoding
from jvade.data.variables import STUDY_INPUTS

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(*words: object) -> int:
    """Run a command and return its exit code."""
    try:
        main([str(word) for word in words])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


@pytest.fixture(scope="module")
def district(tmp_path_factory) -> Path:
    """A small district."""
    folder = tmp_path_factory.mktemp("simulate") / "district"
    assert run("simulate", "--visits", 6_000, "--seed", 3, "--out", folder) == 0
    return folder


@pytest.fixture(scope="module")
def features(district) -> Path:
    """Its features."""
    out = district.parent / "features"
    flags = ("--visits", district / "visits", "--mapping", district / "mapping.toml", "--out", out)
    assert run("features", *flags) == 0
    return out


def test_simulate_writes_the_tables_and_a_mapping_that_reads_them(district):
    names = {"visits", "institutions.parquet", "areas.parquet", "truth.parquet", "mapping.toml"}
    assert {path.name for path in district.iterdir()} == names
    assert read_mapping(district / "mapping.toml").visit == "visit_id"
    assert "truth" not in (district / "mapping.toml").read_text()


def test_simulate_check_prints_the_fidelity(tmp_path, capsys):
    assert run("simulate", "--visits", 20_000, "--out", tmp_path / "d", "--check") == 0
    printed = capsys.readouterr().out
    for words in (
        "Table 7 of the planted types",
        "largest deviation, overall",
        "crossed_before",
        "our choice",
    ):
        assert words in printed
    assert "visits per patient: mean 6." in printed


def test_simulate_refuses_what_it_cannot_do(district, tmp_path, capsys):
    assert run("simulate", "--visits", 6_000, "--out", district) == 2
    assert "new or empty folder" in capsys.readouterr().err
    assert run("simulate", "--visits", 100, "--patients", 200, "--out", tmp_path / "none") == 2
    assert not (tmp_path / "none").exists()
    assert run("paper", "--n-visits", 1, "--out", tmp_path / "none") == 2
    assert "visits per patient: expected" in capsys.readouterr().err


def test_features_of_the_district_are_those_of_the_study(features):
    table = pd.read_parquet(features / "features.parquet")
    assert table["row"].is_monotonic_increasing
    names = [variable.name for variable in STUDY_INPUTS]
    assert [name for name in table.columns if name in names] == names
    manifest = json.loads((features / "run.json").read_text())
    assert manifest["account"]["kept"] == len(table)
    dropped = sum(drop["rows"] for drop in manifest["account"]["dropped"])
    assert manifest["account"]["rows_read"] == len(table) + dropped
    assert set(manifest["input"]) == {"visits", "mapping", "hospital", "home", "place"}
    assert "P0000001" not in (features / "run.json").read_text()


def test_encoding_gives_other_visits_the_same_columns(district, features, capsys):
    encoding = Encoding.read(features / "encoding.json")
    assert [v.name for v in encoding.inputs] == [v.name for v in STUDY_INPUTS]
    assert encoding.levels["subdistrict"][0] == "A11"
    table = pd.read_parquet(features / "features.parquet")
    for name, mean, scale in zip(
        encoding.scaling.names, encoding.scaling.means, encoding.scaling.scales, strict=True
    ):
        if name in ("age", "cost"):
            np.testing.assert_allclose(
                [mean, scale], [table[name].mean(), table[name].std(ddof=0)], rtol=1e-5
            )
    some = pd.read_parquet(district / "visits").query("residence in ('A01', 'A11')")
    visits = district / "some.parquet"
    some.to_parquet(visits)
    flags = ("--visits", visits, "--mapping", district / "mapping.toml")
    out = district.parent / "again"
    assert run("features", *flags, "--out", out, "--encoding", features / "encoding.json") == 0
    again = pd.read_parquet(out / "features.parquet")
    assert list(again.columns) == list(table.columns)
    assert not again["subdistrict_05"].any()
    assert (out / "encoding.json").read_bytes() == (features / "encoding.json").read_bytes()


def test_features_refuses_and_writes_nothing(district, features, tmp_path, capsys):
    mapping = tmp_path / "mapping.toml"
    text = (district / "mapping.toml").read_text().replace('file = "', f'file = "{district}/')
    mapping.write_text(text.replace("hypertension = {", "# hypertension = {"))
    out = tmp_path / "out"
    flags = ("--visits", district / "visits", "--out", out, "--encoding", features / "encoding.json")
    assert run("features", *flags, "--mapping", mapping) == 2
    assert "input 'hypertension': missing; the encoding has it" in capsys.readouterr().err
    assert run("features", *flags, "--mapping", tmp_path / "none.toml") == 2
    broken = ("--encoding", mapping)
    assert run("features", *flags[:4], *broken, "--mapping", district / "mapping.toml") == 2
    assert "no encoding" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    "flag", [("--tables.memory", "much"), ("--tables.engine", "oracle"), ("--tables.temp", "no")]
)
def test_features_refuses_settings_of_the_engine(district, tmp_path, capsys, flag):
    flags = (
        "--visits",
        district / "visits",
        "--mapping",
        district / "mapping.toml",
        "--out",
        tmp_path / "out",
    )
    assert run("features", *flags, *flag) == 2
    assert "jvade: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_mapping_init_drafts_what_features_reads(tmp_path, capsys):
    draft = tmp_path / "draft.toml"
    assert run("mapping", "init", EXAMPLES / "visits.csv", "--out", draft) == 0
    assert run("mapping", "init", EXAMPLES / "visits.csv", "--out", draft) == 2
    assert "name another" in capsys.readouterr().err
    assert run("mapping", "init", EXAMPLES / "visits.csv") == 0
    assert capsys.readouterr().out == draft.read_text()
    out = tmp_path / "out"
    assert run("features", "--visits", EXAMPLES / "visits.csv", "--mapping", draft, "--out", out) == 0
    assert len(pd.read_parquet(out / "features.parquet")) > 1_900
    assert (out / "features.parquet").stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().out.splitlines()[-1].endswith("has a row per visit: not to be passed on.")


def test_tables_without_a_patient_run_and_say_so(real_data, tmp_path, capsys):
    visits = real_data / "sia_to_2023_10" / "procedures.parquet"
    if not visits.is_file():
        pytest.skip("the outpatient procedures are not among the real data")
    flags = ("--visits", visits, "--mapping", EXAMPLES / "datasus_sia.toml", "--out", tmp_path / "out")
    assert run("features", *flags) == 0
    printed = capsys.readouterr().out
    assert "165,546  rows read" in printed
    assert "no patient column: no history inputs" in printed
    raw = pd.read_parquet(visits)
    table = pd.read_parquet(tmp_path / "out" / "features.parquet")
    assert table["cross_district"].mean() == pytest.approx((raw["PA_MNDIF"] == "1").mean(), abs=1e-3)
    assert "crossed_before" not in table


def test_a_reader_who_has_seen_enough_is_told_no_error():
    (model, *_) = sorted((Path(__file__).parent / "estimator" / "models").glob("*.jvade"))
    code = f"from jvade.cli import main; main(['inspect', {str(model)!r}])"
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent / "src")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as process:
        process.stdout.close()  # long before there is something to read
        assert process.stderr.read() == b""
        assert process.wait() == 1  # what was asked for was not all told
