"""The study end to end at its smallest, the command line, and what bad input does to both."""

import dataclasses
import json
import re
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans

from jvade import cli, manifest
from jvade.core import fit, gmm, lanes, model
from jvade.core.gmm import EmSettings
from jvade.core.layout import take_lane
from jvade.core.mixture import Mixture
from jvade.core.settings import Architecture
from jvade.data.variables import Account, Variable, VisitTable
from jvade.paper import study
from jvade.paper.settings import PRESETS, PaperSettings
from jvade.paper.stage import Study
from jvade.paper.stages import training
from jvade.paper.stages.cohort import Cohort, describe_source, read, variables
from jvade.paper.stages.grid import doubtful
from jvade.paper.stages.profiles import _described, printed
from jvade.report.folder import RunFolder

SCRIPTS = Path(__file__).parents[2] / "scripts"
SMOKE = ["paper", "--preset", "smoke"]
DATA = Path(study.__file__).parents[1] / "data" / "published"
TABLES = {
    "cohort": {"table1_rows", "table2_variables"},
    "pretraining": {"fig3_pretraining"},
    "grid": {"fig1_grid"},
    "sensitivity": {"table3_sensitivity", "table3_mixtures"},
    "number-of-clusters": {"fig4_number_of_clusters"},
    "fine-tuning": {"fig5_finetuning"},
    "latents": {
        "table4_correlations",
        "table4_beside_published",
        "fig2_traversal",
        "cluster_traversal",
        "latent_map",
        "latent_ellipses",
    },
    "robust": {"robust_runs"},
    "comparison": {"table5_comparison", "table5_cross_rates", "table5_lorenz"},
    "stability": {
        "table6_distance",
        "table6_stability",
        "table6_runs",
        "table6_agreement",
        "table6_spread",
        "table6_kept",
    },
    "profiles": {
        "table7_profiles",
        "table7_sizes",
        "table7_matching",
        "table7_differences",
        "table7_intervals",
        "residence",
    },
    "readings": {"readings", "readings_index_rows"},
}
FIGURES = {
    "fig1_grid",
    "fig2_traversal",
    "fig2_traversal_units",
    "fig3_pretraining",
    "fig3_pretraining_terms",
    "fig4_number_of_clusters",
    "fig5_finetuning",
    "fig5_finetuning_terms",
    "table3_sensitivity",
    "latent_map",
    "latent_measures",
    "cross_rates",
    "table5_lorenz",
    "table6_agreement",
    "table6_spread",
    "table7_profiles",
    "readings",
}
FILES = {f"{name}.csv" for names in TABLES.values() for name in names}
FILES |= {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
FILES |= {f"stages/{name}.json" for name in TABLES} | {"paper.md", "paper.html"}
COURSES = ("pretraining", "fine-tuning", "robust", "stability")
COURSES += ("readings-ours", "readings-inclusive", "readings-longest-gap")
FILES |= {f"stages/{name}.jsonl" for name in COURSES}


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
    here = {path.relative_to(smoke).as_posix() for path in smoke.rglob("*") if path.is_file()}
    handed_on = {name for name in here if name.startswith("report/")}
    assert {name for name in here - handed_on if not name.startswith("private/")} == FILES | {"run.json"}
    assert {"report/report.html", "report/run.json", "report/report.xlsx"} <= handed_on
    got = json.loads((smoke / "run.json").read_text())
    assert got["seed"] == 42
    assert got["settings"]["model"]["learning_rate"] == 1e-3
    simulated = got["input"]["simulated"]
    assert simulated["seed"] == 42
    account = got["account"]
    assert abs(account["rows_read"] - simulated["visits"]) < 60
    (dropped,) = account["dropped"]
    assert dropped["rule"] == "column 'cost': no cost"
    assert dropped["rows"] == account["rows_read"] - account["kept"] > 0
    assert got["versions"]["jax"]
    assert got["device"]["platform"]
    assert got["complete"]
    assert list(got["stages"]) == list(TABLES)
    assert got["seconds"]["this run"] >= got["seconds"]["fine-tuning"] > 0
    assert set(got["files"]) == FILES
    assert set(got["private"]) == {name for name in here if name.startswith("private/")}


def test_what_has_a_row_per_visit_is_private(smoke):
    labels = pd.read_parquet(smoke / "private" / "labels.parquet")
    visits = pd.read_parquet(smoke / "private" / "visits.parquet")
    assert labels.columns.tolist() == ["row", "cluster", "responsibility"]
    assert labels["row"].tolist() == visits["row"].tolist()
    assert labels["responsibility"].between(1 / 7, 1).all()
    rates = pd.read_csv(smoke / "table5_cross_rates.csv")
    ours = rates[(rates["method"] == "two-stage VaDE") & (rates["cluster"] != "overall")].dropna()
    counted = labels["cluster"].value_counts()
    for cluster, n in ours[["cluster", "visits"]].to_numpy():
        assert counted[int(cluster)] == n
    assert "must not be passed on" in (smoke / "private" / "README.txt").read_text()
    assert (smoke / "private").stat().st_mode & 0o077 == 0
    for path in smoke.glob("*.csv"):
        # What the decoder makes of 13 places along each latent of each cluster has many rows, and no visit.
        assert path.stem == "cluster_traversal" or len(pd.read_csv(path)) < 1000, path.name


def test_the_page_has_every_table_and_figure_in_the_order_of_the_study(smoke):
    page = (smoke / "paper.md").read_text()
    parts = ["2.1, Tables 1", "2.2, Fig 1", "3.1, Table 3", "3.2, Table 4", "3.3, Table 5"]
    parts += ["3.4)", "3.5, Table 6", "3.6, Table 7"]
    places = [page.index(f"(section {part}") for part in parts]
    assert places == sorted(places)
    for name in FIGURES:
        assert f"({name}.png)" in page
    for words in ("published", "agrees", "differs", "0.311", "0.841", "61.4", "## Limits", "## Time"):
        assert words in page, words
    document = (smoke / "paper.html").read_text()
    assert document.count("<table>") == page.count("\n| :--") + page.count("\n| --:")
    assert "http" not in document.replace("http-equiv", "")


def test_the_page_of_a_whole_simulated_run_can_be_published(smoke, tmp_path):
    publish = runpy.run_path(str(SCRIPTS / "publish.py"))["publish"]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "old.png").touch()
    page = publish(smoke, "two cores", tmp_path).read_text()
    assert page.splitlines()[0] == (smoke / "paper.md").read_text().splitlines()[0]
    assert "`scripts/paper.py --preset smoke` on two cores" in page
    links = re.findall(r"\]\((results/[^)]*)\)", page)
    assert {Path(link).stem for link in links} == set(FIGURES)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"results.md", *links}

    copy = tmp_path / "copy"
    copy.mkdir()
    whole = json.loads((smoke / "run.json").read_text())
    for change in ({"complete": False}, {"settings": whole["settings"] | {"visits": "admissions.parquet"}}):
        (copy / "run.json").write_text(json.dumps(whole | change))
        with pytest.raises(ValueError, match=r"copy (has not all stages|is of real visits)"):
            publish(copy, "two cores", tmp_path)


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
    differences = pd.read_csv(smoke / "table7_differences.csv")
    assert (differences["ours"] - differences["published"]).sub(differences["difference"]).abs().max() < 1e-3
    assert {"cross_district", "female", "inner", "city_centre"} <= set(table7.index)
    published_rows = pd.read_csv(DATA / "table7_profiles.csv")["variable"].drop(0).tolist()
    assert [name for name in table7.index if name in published_rows] == published_rows
    zones = table7.loc[["inner", "middle", "outer"], "overall"].sum()
    assert zones == pytest.approx(100, abs=0.01)
    table5 = pd.read_csv(smoke / "table5_comparison.csv")
    assert table5["method"].tolist() == [
        "K-Means",
        "VAE + K-Means",
        "VAE + GMM",
        "two-stage VaDE",
        "robust VaDE",
    ]
    np.testing.assert_equal(
        table5["silhouette_published"].to_numpy(), [0.0688, 0.3112, np.nan, 0.3060, np.nan]
    )
    assert table5["ari_planted"].between(-1, 1).all()
    table6 = pd.read_csv(smoke / "table6_stability.csv").set_index("seed")
    runs = table6.loc[["1", "2"], "silhouette"]
    assert table6.loc["mean", "silhouette"] == pytest.approx(runs.mean(), rel=1e-5)
    assert table6.loc["cv", "silhouette"] == pytest.approx(runs.std(ddof=0) / runs.mean(), rel=1e-4)
    bounds = pd.read_csv(smoke / "table7_intervals.csv").set_index(["variable", "cluster"])
    overall = bounds.xs("overall", level="cluster")
    for name in ("age", "cross_district", "community"):
        assert overall.loc[name, "low"] <= table7.loc[name, "overall"] <= overall.loc[name, "high"]


def assert_same_tables(one, two):
    names = [path.name for path in sorted(one.glob("*.csv"))]
    assert names == [path.name for path in sorted(two.glob("*.csv"))]
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def seconds(folder):
    return {path.stem: json.loads(path.read_text())["began"] for path in (folder / "stages").glob("*.json")}


def test_an_interrupted_run_goes_on_and_ends_as_an_uninterrupted_one(smoke, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(KMeans, "fit_predict", interrupt)
        code, text, _ = run(capsys, *SMOKE, "--out", out)
    assert code == 130
    assert "8 of 12 stages are finished" in text
    assert not (out / "run.json").exists()
    before = seconds(out)
    monkeypatch.setattr(study, "draw", lambda *_: [])  # from stages kept, the test below draws them
    code, text, _ = run(capsys, *SMOKE, "--out", out)
    assert code == 0
    assert "8 of 12 stages are finished already" in text
    after = seconds(out)
    assert {name: after[name] for name in before} == before
    assert_same_tables(smoke, out)
    for words in ("Table 5", "Table 7", "cross rate", "(8.9)", "agrees"):
        assert words in text


def interrupt(*_args, **_kwargs):
    raise KeyboardInterrupt


def test_a_second_run_keeps_what_is_finished_and_computes_what_is_gone(smoke, tmp_path, capsys):
    out = tmp_path / "copy"
    shutil.copytree(smoke, out)
    before = seconds(out)
    (out / "table7_sizes.csv").unlink()
    (out / "stages" / "number-of-clusters.json").write_text("{ cut")
    # A table that the same stage wrote under older settings, and this one does not.
    record = json.loads((out / "stages" / "profiles.json").read_text())
    (out / "older.csv").write_text("older")
    record["files"]["older.csv"] = 5
    (out / "stages" / "profiles.json").write_text(json.dumps(record))
    time.sleep(1)  # the records tell the time in seconds
    code, text, _ = run(capsys, *SMOKE, "--out", out)
    assert code == 0
    assert "10 of 12 stages are finished already" in text
    after = seconds(out)
    assert {name for name in before if before[name] != after[name]} == {"profiles", "number-of-clusters"}
    assert not (out / "older.csv").exists()
    assert_same_tables(smoke, out)


def test_only_brings_up_to_date_what_is_asked_for(tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    code, _, err = run(capsys, *SMOKE, "--out", out, "--only", "cohort")
    assert code == 0, err
    assert {path.name for path in out.glob("*.csv")} == {"table1_rows.csv", "table2_variables.csv"}
    got = json.loads((out / "run.json").read_text())
    assert not got["complete"]
    assert list(got["stages"]) == ["cohort"]
    assert "## Data" in (out / "paper.md").read_text()
    with monkeypatch.context() as patched:
        patched.setattr("jvade.manifest.peak_memory_gb", lambda: 999.0)  # figures and report count too
        code, text, _ = run(capsys, *SMOKE, "--out", out, "--only", "cohort")
    assert "1 of 1 stages are finished already" in text
    assert json.loads((out / "run.json").read_text())["peak_memory_gb"] == 999
    assert "report/" not in text
    (out / "report").mkdir()  # of other stages
    code, text, _ = run(capsys, *SMOKE, "--out", out, "--only", "cohort", "--no-resume")
    assert code == 0
    assert "finished already" not in text
    assert "report/ is of an earlier run and not of this one." in text
    assert "Hand on" not in text
    code, _, err = run(capsys, *SMOKE, "--out", out, "--only", "cohort", "--kmeans-clusters", "5000")
    assert code == 2
    assert "too few for 5000 clusters" in err
    code, _, err = run(capsys, *SMOKE, "--out", out, "--only", "cohorts")
    assert code == 2


def test_doubtful_mixtures_of_one_number_of_latents_are_told_in_one_line():
    z = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    z[:, 2] = 0.0  # a latent that the VAE does not use
    whole = gmm.fit(jax.random.key(0), jnp.asarray(z), [1, 2, 3], settings=EmSettings(n_init=2))
    fits = {k: take_lane(whole, i) for i, k in enumerate((1, 2, 3))}
    (line,) = doubtful(3, fits, 1e-6)
    assert line.startswith("3 latents: 3 of 3 mixtures, from 1 clusters on")
    sound = gmm.fit(jax.random.key(0), jnp.asarray(z[:, :2]), [1], settings=EmSettings(n_init=2))
    assert doubtful(2, {1: take_lane(sound, 0)}, 1e-6) == []
    fallen = {k: take_lane(sound, 0)._replace(lower_bound=jnp.array(-float(k))) for k in (2, 3, 4)}
    (line,) = doubtful(2, fallen, 1e-6)
    assert line.startswith("2 latents: the mixtures of 3, 4 clusters fit worse than with fewer")


def test_the_study_encodes_and_places_visits_as_the_core_does(monkeypatch):
    sizes, rng = Architecture(6, 3, 2, (8,)), np.random.default_rng(0)
    x = rng.normal(size=(50, 6)).astype(np.float32)
    params = model.init(jax.random.key(0), sizes, 3)
    monkeypatch.setattr(training, "pretrained", lambda *_: params)
    monkeypatch.setattr(training, "architecture", lambda *_: sizes)
    monkeypatch.setattr(training.cohort, "load", lambda _: SimpleNamespace(matrix=x))
    rows, expected = rng.permutation(50)[:37], model.encode(params, jnp.asarray(x), sizes, 3).means
    found = training.encode(cast(Study, SimpleNamespace(settings=PRESETS["smoke"])), 3, rows)
    np.testing.assert_allclose(found, expected[rows], rtol=1e-5, atol=1e-6)

    mixture = Mixture(jnp.zeros(2), jnp.asarray([[-1.0, 0, 0], [1, 0, 0]]), jnp.zeros((2, 3)))
    stack = lanes.stack([0], PRESETS["smoke"].model._replace(latent_dim=3, n_clusters=2))
    one = jax.tree.map(lambda leaf: leaf[None], params._replace(mixture=mixture))
    result = cast(Any, SimpleNamespace(finetuned=SimpleNamespace(params=one)))
    placed = training.place(x, result, stack, 0, sizes)
    gamma = np.asarray(
        fit.assign(take_lane(one, 0), jnp.asarray(x), take_lane(stack, 0), sizes).responsibilities
    )
    np.testing.assert_array_equal(placed["clusters"], gamma.argmax(axis=1))
    np.testing.assert_allclose(placed["responsibility"], gamma.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(placed["latents"], expected, rtol=1e-5, atol=1e-6)


def test_a_variable_that_few_patients_have_is_blank_in_table_2():
    frame = pd.DataFrame(
        {
            "patient": [0, 0, 1, 2, 3],
            "cross_district": [False, True, True, True, False],
            "age": np.array([10, 20, 30, 40, np.nan], np.float32),
            "rare": np.array([1, 1, 0, 0, 0], np.uint8),  # two visits of one patient
            "never": np.zeros(5, np.uint8),
        }
    )
    inputs = (
        Variable("age", "Age", "personal", "numeric", "years"),
        Variable("rare", "Rare", "diagnosis", "binary"),
        Variable("never", "Never", "diagnosis", "binary"),
    )
    table = VisitTable(frame, inputs, (), Account(5, 0, (), 5))
    got = variables(table, dataclasses.replace(PRESETS["smoke"], min_patients=2)).set_index("variable")
    assert got.loc["age", "mean"] == 25
    assert got.loc["age", "missing_percent"] == pytest.approx(20)
    assert got.loc["age", "sd"] == pytest.approx(np.std([10, 20, 30, 40]))
    assert np.isnan(got.loc["rare", "mean"])
    assert got.loc["never", "mean"] == 0
    assert got.loc["cross_district", ["mean", "scaling"]].tolist() == [60, "held out of the clustering"]
    unknown = VisitTable(frame.drop(columns="patient"), inputs, (), Account(5, 0, (), 5))
    got = variables(unknown, dataclasses.replace(PRESETS["smoke"], min_patients=2)).set_index("variable")
    assert got.loc["rare", "mean"] == 40


def test_a_place_that_no_visit_has_has_no_row_in_table_7():
    """Codes of one's own: a row of the study's would say 0 %, and mean nothing."""
    zones = pd.Series(["north", "outer", None, "south"], dtype="category")
    frame = pd.DataFrame({"cross_district": [True, False, True, True], "zone": zones, "destination": None})
    table = VisitTable(frame, (), ("zone", "destination"), Account(4, 0, (), 4))
    assert [row.variable for row in printed(table)] == ["cross_district", "outer"]
    columns, _ = _described(Cohort(table, None, None, None))
    assert columns["outer"].tolist() == [0, 1, 0, 0]
    assert columns.columns.tolist() == ["cross_district", "outer"]


def test_a_stage_brings_what_it_needs():
    assert study.stages_for(["number-of-clusters"]) == ["cohort", "pretraining", "grid", "number-of-clusters"]
    assert study.stages_for(["stability", "cohort"]) == ["cohort", "stability"]
    assert study.stages_for([]) == list(TABLES)


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ({"stability_seeds": (7,)}, {"stability"}),
        ({"n_boot": 7}, {"profiles"}),
        ({"kmeans_clusters": 3}, {"comparison"}),
        (  # the VAEs are those of before: how mixtures are looked for is no matter of theirs
            {"grid": dataclasses.replace(PRESETS["smoke"].grid, em=EmSettings(n_init=3))},
            {"grid", "number-of-clusters"},
        ),
        ({"show_all": True, "out": Path("elsewhere")}, set()),
        ({"n_visits": 4000}, set(TABLES)),
        ({"widths": (8,)}, set(TABLES) - {"cohort", "robust"}),
        ({"robust": dataclasses.replace(PRESETS["smoke"].robust, n_runs=3)}, {"robust", "comparison"}),
    ],
)
def test_a_setting_makes_stale_what_depends_on_it(tmp_path, change, stale):
    def keys(settings):
        whole = study.Study(settings, RunFolder(tmp_path), None, study.STAGES, describe_source(settings))
        return {name: whole.key(name) for name in study.STAGES}

    before, after = keys(PRESETS["smoke"]), keys(dataclasses.replace(PRESETS["smoke"], **change))
    assert {name for name in before if before[name] != after[name]} == stale


@pytest.mark.long
def test_killed_at_random_moments_a_run_ends_as_an_unkilled_one(smoke, tmp_path):
    """SIGKILL, ten times: what stands in the folder is whole, and the next run goes on from it."""
    out = tmp_path / "run"
    script = Path(__file__).parents[2] / "scripts" / "paper.py"
    command = [sys.executable, str(script), *SMOKE[1:], "--out", str(out)]
    rng = np.random.default_rng(0)
    for _ in range(10):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            process.wait(timeout=float(rng.uniform(5, 60)))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for record in (out / "stages").glob("*.json"):
            for file, size in json.loads(record.read_text())["files"].items():
                assert (out / file).stat().st_size == size
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same_tables(smoke, out)
    assert not list(out.rglob(".unfinished*"))


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
    only = ("--only", "profiles")  # the README's command has them compared too
    code, text, err = run(capsys, *SMOKE, "--visits", visits, "--mapping", mapping, "--out", out, *only)
    assert code == 0, err
    assert "400  visits kept" in text
    got = json.loads((out / "run.json").read_text())
    assert got["input"]["visits"]["name"] == "visits.csv"
    assert len(got["input"]["visits"]["sha256"]) == 64
    assert str(tmp_path) not in (out / "run.json").read_text()


def test_a_code_of_few_rows_of_ones_own_is_pooled(tmp_path):
    visits, mapping = write_visits(tmp_path, change=spoil("home", "SENTINEL", range(7)))
    mapping.write_text(MAPPING + '[subdistrict]\ncolumn = "home"\n')
    settings = PaperSettings(visits=visits, mapping=mapping)
    assert {*read(settings)[0].levels["subdistrict"]} == {"a", "b", "other"}
    table, _, _ = read(dataclasses.replace(settings, min_patients=7))
    assert {*table.levels["subdistrict"]} == {"a", "b", "SENTINEL"}


def test_computing_anew_forgets_nothing_before_the_visits_are_read(tmp_path, capsys):
    visits, mapping = write_visits(tmp_path)
    args = (*SMOKE, "--visits", visits, "--mapping", mapping, "--out", tmp_path / "run", "--only", "cohort")
    assert run(capsys, *args)[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    write_visits(tmp_path, change=spoil("years", -4))
    assert run(capsys, *args, "--no-resume")[0] == 2
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    write_visits(tmp_path)
    record = tmp_path / "run" / "stages" / "grid.json"  # of an earlier run
    record.write_text("{}")
    code, text, _ = run(capsys, *args, "--no-resume")
    assert code == 0
    assert "finished already" not in text
    assert not record.exists()


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
        (lambda frame: frame.iloc[:5], ["5 rows are too few"]),
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


def test_a_run_into_its_own_visits_is_refused(tmp_path, capsys):
    """Its tables would be read as visits the next time."""
    parts = tmp_path / "parts"
    parts.mkdir()
    visits, mapping = write_visits(tmp_path)
    visits.rename(parts / "0.csv")
    code, _, err = run(capsys, *SMOKE, "--visits", parts, "--mapping", mapping, "--out", parts / "results")
    assert code == 2
    assert "would become a part of the table" in err
    assert [path.name for path in parts.iterdir()] == ["0.csv"]


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
        (["--model.balance", "2"], "--model: balance: expected at least 0, at most 1, got 2.0"),
        (["--model.learning-rate", "0"], "--model.learning-rate: expected a number above 0, got 0.0"),
        (["--model.noise-variance", "nan"], "--model.noise-variance: expected a number above 0, got nan"),
        (["--grid.clusters", "5", "2"], "smaller number first, got 5 2"),
        (["--n-visits", "6"], "too few for 15 clusters"),
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


def test_a_run_that_diverges_says_so_and_is_no_finished_run(tmp_path, capsys):
    out = tmp_path / "results"
    code, _, err = run(capsys, *SMOKE, "--out", out, "--model.learning-rate", "1e30")
    assert code == 1
    assert "went non-finite" in err
    assert "try a lower learning rate" in err
    assert not (out / "run.json").exists()
    assert {path.name for path in (out / "stages").iterdir()} == {"cohort.json", "pretraining.jsonl"}


def test_folder_names():
    assert PRESETS["quick"].folder.as_posix() == "results/quick"
    assert PaperSettings(visits=Path("x/visits.csv.gz")).folder.as_posix() == "results/visits"


def test_settings_become_plain_values_without_paths():
    got = manifest.plain(PaperSettings(visits=Path("/home/someone/visits.csv")))
    assert got["visits"] == "visits.csv"
    assert got["training"]["max_epochs"] == 100
    study_size = PRESETS["full"]
    assert manifest.plain(study_size.training.for_rows(study_size.n_visits))["batch_size"] == 1024
    json.dumps(got)


def test_the_script_is_the_command():
    done = subprocess.run(
        [sys.executable, SCRIPTS / "paper.py", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "--visits" in done.stdout
