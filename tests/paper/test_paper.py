"""The study end to end at its smallest, the command line, and what bad input does to both."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jvade import cli
from jvade.paper import manifest
from jvade.paper.settings import PRESETS, PaperSettings

SMOKE = ["paper", "--preset", "smoke"]
FILES = {
    "run.json",
    "fig3_pretraining.csv",
    "fig3_pretraining.png",
    "fig3_pretraining.svg",
    "fig4_number_of_clusters.csv",
    "fig4_number_of_clusters.png",
    "fig4_number_of_clusters.svg",
    "fig5_finetuning.csv",
    "fig5_finetuning.png",
    "fig5_finetuning.svg",
    "table5_comparison.csv",
    "table5_cross_rates.csv",
    "cross_rates.png",
    "cross_rates.svg",
    "table7_profiles.csv",
    "table7_profiles.png",
    "table7_profiles.svg",
}


def run(capsys, *args):
    """Run the command line in this process: exit code, output, errors."""
    try:
        cli.main([*map(str, args)])
        code = 0
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke") / "run"
    cli.main([*SMOKE, "--out", str(folder)])
    return folder


def test_smoke_writes_every_table_and_figure(smoke):
    assert {path.name for path in smoke.iterdir()} == FILES
    got = json.loads((smoke / "run.json").read_text())
    assert got["seed"] == 42
    assert got["settings"]["model"]["learning_rate"] == 1e-3
    simulated = got["input"]["simulated"]
    assert simulated["seed"] == 42
    assert abs(simulated["visits"] - 3000) < 60
    account = got["account"]
    assert account["rows_read"] == simulated["visits"]
    (dropped,) = account["dropped"]
    assert dropped["rule"] == "column 'cost': no cost"
    assert dropped["rows"] == simulated["missing_cost"] == account["rows_read"] - account["kept"] > 0
    assert got["versions"]["jax"]
    assert got["device"]["platform"]
    assert got["seconds"]["all"] >= got["seconds"]["training"] > 0
    assert set(got["files"]) == FILES - {"run.json"}


def test_smoke_tables_hold_together(smoke):
    rates = pd.read_csv(smoke / "table5_cross_rates.csv")
    for _, method in rates.groupby("method"):
        clusters, overall = method[method["cluster"] != "overall"], method[method["cluster"] == "overall"]
        assert clusters["cross_rate"].dropna().is_monotonic_decreasing
        if clusters["visits"].notna().all():
            assert clusters["visits"].sum() == overall["visits"].iloc[0]
            crossing = (clusters["visits"] * clusters["cross_rate"]).sum()
            assert crossing / clusters["visits"].sum() == pytest.approx(
                overall["cross_rate"].iloc[0], rel=1e-4
            )
    table7 = pd.read_csv(smoke / "table7_profiles.csv").set_index("variable")
    assert table7.loc["age", "overall_published"] == 61.4
    assert {"cross_district", "female", "inner", "city_centre"} <= set(table7.index)
    zones = table7.loc[["inner", "middle", "outer"], "overall"].sum()
    assert zones == pytest.approx(100, abs=0.01)
    table5 = pd.read_csv(smoke / "table5_comparison.csv")
    assert table5["method"].tolist() == ["K-Means", "VAE + K-Means", "two-stage VaDE"]
    assert table5["silhouette_published"].tolist() == [0.0688, 0.3112, 0.3060]


def test_the_same_command_gives_the_same_tables(smoke, tmp_path, capsys):
    code, out, _ = run(capsys, *SMOKE, "--out", tmp_path / "again")
    assert code == 0
    for path in sorted(smoke.glob("*.csv")):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    for words in ("Table 5", "Table 7", "cross rate", "(8.9)", "2,918  visits kept"):
        assert words in out


def test_history_is_minus_elbo(smoke):
    got = pd.read_csv(smoke / "fig5_finetuning.csv")
    elbo = (
        got["validation_reconstruction"]
        - got["validation_categorical_kl"]
        - got["validation_gaussian_cross_entropy"]
        + got["validation_posterior_entropy"]
    )
    np.testing.assert_allclose(got["validation_loss"], -elbo, rtol=1e-4)


MAPPING = """
patient = "person"
date = { column = "day" }
age = { column = "years" }
sex = { column = "sex", female = ["F"], male = ["M"] }
outcome = { residence = "home", place = "at" }
cost = { column = "fee", unit = "yuan" }
diagnosis = { principal = "icd" }
"""


def write_visits(folder, n=400, seed=0, change=None):
    """A small visit table and its mapping, written as an analyst would."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "person": rng.integers(0, 150, n),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 365, n), "D"),
            "years": rng.integers(0, 95, n),
            "sex": rng.choice(["M", "F"], n),
            "home": rng.choice(["a", "b"], n),
            "at": rng.choice(["a", "b"], n, p=[0.8, 0.2]),
            "fee": rng.lognormal(5, 1, n).round(2),
            "icd": rng.choice(["I10", "J45", "K29", "C16", "E11"], n),
        }
    )
    if change:
        frame = change(frame)
    visits, mapping = folder / "visits.csv", folder / "mapping.toml"
    frame.to_csv(visits, index=False)
    mapping.write_text(MAPPING)
    return visits, mapping


def test_own_visits_run_end_to_end(tmp_path, capsys):
    visits, mapping = write_visits(tmp_path)
    out = tmp_path / "results"
    code, text, err = run(capsys, *SMOKE, "--visits", visits, "--mapping", mapping, "--out", out)
    assert code == 0, err
    assert "400  visits kept" in text
    got = json.loads((out / "run.json").read_text())
    assert got["input"]["visits"]["name"] == "visits.csv"
    assert len(got["input"]["visits"]["sha256"]) == 64
    assert str(tmp_path) not in (out / "run.json").read_text()


def drop(column):
    return lambda frame: frame.drop(columns=column)


def spoil(column, value, rows=(2, 5)):
    def change(frame):
        frame = frame.astype({column: object})
        frame.loc[list(rows), column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop("fee"), ["fee"]),
        (spoil("years", -4), ["years", "2 rows", "3, 6"]),
        (spoil("fee", -9.25), ["fee", "2 rows", "3, 6"]),
        (spoil("day", "SENTINEL"), ["day", "2 rows", "3, 6"]),
        (spoil("years", "SENTINEL"), ["years", "2 rows", "3, 6"]),
        (lambda frame: frame.iloc[:0], ["no rows"]),
        (lambda frame: frame.assign(fee=np.nan), ["fee"]),
        (lambda frame: frame.iloc[:5], ["5 visits are too few"]),
    ],
    ids=["column", "age", "cost", "date", "number", "empty", "no cost", "too few"],
)
def test_bad_visits_stop_with_code_2_and_nothing_written(tmp_path, capsys, change, expected):
    visits, mapping = write_visits(tmp_path, change=change)
    out = tmp_path / "results"
    code, _, err = run(capsys, *SMOKE, "--visits", visits, "--mapping", mapping, "--out", out)
    assert code == 2
    assert not out.exists()
    assert "Traceback" not in err
    for words in expected:
        assert words in err
    for value in ("SENTINEL", "-9.25", "-4"):
        assert value not in err


def test_unknown_mapping_key_and_missing_files_stop_with_code_2(tmp_path, capsys):
    visits, mapping = write_visits(tmp_path)
    mapping.write_text(mapping.read_text().replace("cost =", "costs ="))
    code, _, err = run(capsys, *SMOKE, "--visits", visits, "--mapping", mapping)
    assert code == 2
    assert "costs" in err
    assert "cost" in err
    code, _, err = run(capsys, *SMOKE, "--visits", tmp_path / "none.csv", "--mapping", mapping)
    assert code == 2


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--visits", "a.csv"], "--visits needs --mapping"),
        (["--mapping", "a.toml"], "--mapping needs --visits"),
        (["--model.learning-rate", "0"], "--model.learning-rate: expected a number above 0, got 0.0"),
        (["--model.noise-variance", "nan"], "--model.noise-variance: expected a number above 0, got nan"),
        (["--bic-clusters", "5", "2"], "smaller number first, got 5 2"),
        (["--n-visits", "6"], "too few for 10 clusters"),
        (["--seed", "-1"], "--seed: expected at least 0, got -1"),
        (["--widths", "0"], "--widths: expected at least 1, got 0"),
        (["--mixture.n-rows", "3"], "--mixture.n-rows: expected at least 8, got 3"),
        (["--mixture.max-iter", "0"], "--mixture.max-iter: expected at least 1, got 0"),
        (["--model.weight-decay", "-1"], "--model.weight-decay: expected at least 0, got -1.0"),
        (["--model.kl-weight", "nan"], "--model.kl-weight: expected at least 0, got nan"),
        (["--device", "tpu"], "--device tpu: JAX finds no such device"),
    ],
)
def test_impossible_settings_stop_with_code_2(tmp_path, capsys, args, expected):
    code, _, err = run(capsys, *SMOKE, "--out", tmp_path / "none", *args)
    assert code == 2
    assert expected in err
    assert not (tmp_path / "none").exists()


def test_flags_override_the_preset_and_unknown_flags_are_refused(capsys):
    assert cli.chosen_preset(["--preset", "full"]).n_visits == 3_650_000
    assert cli.chosen_preset(["--preset=smoke", "--seed", "1"]).preset == "smoke"
    assert cli.chosen_preset([]).preset == "quick"
    code, _, _ = run(capsys, "paper", "--no-such-flag", "1")
    assert code == 2
    code, out, _ = run(capsys, "paper", "--help")
    assert code == 0
    for words in ("--visits", "--model.noise-variance", "--training.max-epochs", "--mixture.latents"):
        assert words in out


def test_a_run_that_diverges_says_so_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "results"
    code, _, err = run(capsys, *SMOKE, "--out", out, "--model.learning-rate", "1e30")
    assert code == 1
    assert "went non-finite" in err
    assert "try a lower learning rate" in err
    assert not out.exists()


def test_folder_names():
    assert PRESETS["quick"].folder.as_posix() == "results/quick"
    assert PaperSettings(visits=Path("x/visits.csv.gz")).folder.as_posix() == "results/visits"


def test_settings_become_plain_values_without_paths():
    got = manifest.plain(PaperSettings(visits=Path("/home/someone/visits.csv")))
    assert got["visits"] == "visits.csv"
    assert got["training"]["batch_size"] == 1024
    json.dumps(got)


def test_the_script_is_the_command():
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[2] / "scripts" / "paper.py", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "--visits" in done.stdout
