"""What ours is timed against is the same model (that needs PyTorch); tables are as the results say."""

import importlib
import json
import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from jvade.analysis import stability
from jvade.core.settings import Hyperparameters

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SRC = BENCHMARKS.parent / "src"


@pytest.fixture
def scripts(monkeypatch):
    """The folder of the benchmarks among those that modules come from."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


@pytest.fixture
def mnist(scripts):
    return importlib.import_module("mnist")


def test_the_tables_of_the_pages_are_those_of_the_results(scripts):
    readme = importlib.import_module("readme")
    fill = readme.fill
    for path, tables in readme.PAGES.items():
        page = path.read_text(encoding="utf-8")
        assert fill(page, BENCHMARKS / "results", tables) == page
        assert "@@" not in page, "a place to fill"
    page = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    other = page.replace("million rows", "rows")
    assert fill(other, BENCHMARKS / "results", readme.PAGES[BENCHMARKS / "README.md"]) == page
    with pytest.raises(ValueError, match="expected the marks"):
        fill("no marks", BENCHMARKS / "results")
    with pytest.raises(FileNotFoundError):
        fill(page, BENCHMARKS / "baselines")


def test_what_was_asked_stands_beside_what_products_allow(scripts):
    """By numbers that can be worked out by hand."""
    readme = importlib.import_module("readme")
    stages, of_one = ("pretraining", "fine-tuning"), {"jvade": 1.0, "tuned": 3.0, "tuned, compiled": 2.0}
    seconds = {1: of_one | {"idiomatic": 12.5}, 35: {"jvade": 10.0, "tuned": 45.0, "stacked": 30.0}}
    results = [
        {
            "stage": stage,
            "lanes": lanes,
            "program": name,
            "seconds": {"median": took},
            "share_of_matrix_product": 0.2 * lanes**0.5,
        }
        for stage in stages
        for lanes, each in seconds.items()
        for name, took in each.items()
    ]
    step = {"products": {"median": 50.0}, "in all": {"median": 100.0}}
    lanes = ("the study on two devices", "35 lanes of the study")
    spent = {"microseconds": {f"{one}, {stage}": step for one in lanes for stage in stages}}
    grown = {"growth": {"rows": [{"seconds": {"median": took}} for took in (1.0, 2.0, 4.0, 8.8)]}}
    full = {
        "seconds": {
            name: {"median": took} for name, took in (("a", 1200.0), ("b", 900.0), ("this run", 60.0))
        },
        "peak_memory_gb": {"median": 5.94},
    }
    trained = {"results": results, "options": {"programs": [*of_one, "idiomatic", "stacked"]}}
    found = readme.asked(trained, spent, {"times_as_fast": 6.0}, grown, full)
    for line in (
        "| one lane against tuned PyTorch, pretraining | 4.5 times | 2.0 (3.0) | 4.0 |",
        "| one lane against idiomatic PyTorch, fine-tuning | 12 times | **12.5** | 25.0 |",
        "| 35 lanes against tuned PyTorch, one after the other, pretraining | 5.5 times | 4.5 (4.5) | 9.0 |",
        "| 35 lanes against stacked PyTorch, fine-tuning | 3 times | **3.0** | 6.0 |",
        "| share of the matrix product in the pretraining, 1 lane | 0.5 | 0.20 | 0.40 |",
        "| share of the matrix product in the pretraining, 35 lanes | 0.5 | **1.18** | 2.37 |",
        "| EM over K = 2 to 30 against scikit-learn | 5 times | **6.0** |  |",
        "| the full preset, time | at most 30 min | 35 |  |",
        "| the full preset, memory | at most 6 GB | **5.9** |  |",
        "| one GPU: the full preset | 3 min |  |  |",
    ):
        assert line in found.splitlines()
    assert "| at most 2.1 times | 2.00, 2.00, 2.20 |  |" in found
    ours = {"losses": [1.0, 2.0, 4.0]}
    assert readme._apart({"losses": [1.1, 2.0, 4.2]}, ours) == pytest.approx((5.0, 10.0))


@pytest.mark.parametrize("half_seeds", [0, pytest.param(1, marks=pytest.mark.long)])
def test_the_quality_bench_runs_at_its_quick_size(tmp_path, half_seeds):
    out = tmp_path / "quality.json"
    command = [
        sys.executable,
        BENCHMARKS / "quality.py",
        "--quick",
        "--half-seeds",
        str(half_seeds),
        "--out",
        out,
    ]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(SRC)})
    (one,) = json.loads(out.read_text())["cohorts"].values()
    by_method = {line["method"]: line for line in one["methods"]}
    alone = "supervised (ceiling)", "right families, EM from the types", "K-Means", "GMM"
    assert set(by_method) == {*alone, "VAE + K-Means", "VAE + GMM", "VaDE, paper", "VaDE, robust"}
    ceiling = by_method["supervised (ceiling)"]["mean"]["ari"]
    others = [line["mean"]["ari"] for name, line in by_method.items() if not name.startswith("supervised")]
    assert 0 < min(others) <= max(others) < ceiling < 1
    assert by_method["VaDE, robust"]["alive_least"] == 7
    of_ceiling = by_method["VaDE, robust"]["of_ceiling"]
    assert of_ceiling["mean"] == pytest.approx(by_method["VaDE, robust"]["mean"]["ari"] / ceiling)
    assert 0 < of_ceiling["low"] < of_ceiling["mean"] < of_ceiling["high"] < 1
    for name in ("VaDE, robust", "VaDE, paper"):
        line = by_method[name]
        assert line["mean"]["gini"] > 0
        assert line["mean"]["elbo_aside"] == pytest.approx(np.mean(line["each"]["elbo_aside"]))
        assert 0 < line["mean"]["smallest_share"] <= line["mean"]["largest_share"]
    assert by_method["K-Means"]["each"]["elbo_aside"] == [None, None]
    told = {name for name, line in by_method.items() if "sure" in line["mean"]}
    assert set(by_method) - told == {"K-Means", "VAE + K-Means"}, "without responsibilities"
    for name in ("supervised (ceiling)", "GMM", "VAE + GMM"):
        assert 0 < by_method[name]["mean"]["sure"] <= 1
        assert 0 < by_method[name]["mean"]["sure_right"] <= 1
    assert set(one["halves"]) == ({"VaDE, robust", "VaDE, paper"} if half_seeds else set())


def test_what_is_reached_of_the_ceiling_is_told_with_the_chance_in_the_patients(scripts):
    quality, rng = importlib.import_module("quality"), np.random.default_rng(0)
    types, patients = rng.integers(1, 8, 4_000), rng.integers(0, 500, 4_000)
    ceiling, near, far = (np.where(rng.random(4_000) < share, types, 0) for share in (0.9, 0.8, 0.3))
    found = quality.beside_ceiling([near, far], ceiling, types, patients)
    of_ceiling, of_near, of_far = (adjusted_rand_score(types, one) for one in (ceiling, near, far))
    assert found["mean"] == pytest.approx((of_near + of_far) / 2 / of_ceiling)
    assert found["mean"] - 0.05 < found["low"] < found["mean"] < found["high"] < found["mean"] + 0.05
    assert quality.beside_ceiling([ceiling], ceiling, types, patients) == {"mean": 1, "low": 1, "high": 1}
    times = rng.poisson(1.0, 4_000)  # a weight is so many rows
    assert stability.adjusted_rand(stability.overlaps(types, near, counts=times)) == pytest.approx(
        adjusted_rand_score(np.repeat(types, times), np.repeat(near, times))
    )


def test_how_well_each_type_is_found_is_told_by_the_cluster_that_fits_it_best(scripts):
    """A cluster of five holds four of type 1, one of four holds two of type 2 and two of type 3."""
    best = importlib.import_module("quality").best_f1
    types = np.array([1, 1, 1, 1, 1, 2, 2, 3, 3, 3])
    labels = np.array([0, 0, 0, 0, 5, 1, 1, 0, 1, 1])
    found = best(labels, types)
    assert found == pytest.approx({"f1_type_1": 8 / 10, "f1_type_2": 4 / 6, "f1_type_3": 4 / 7})


def test_the_accuracy_of_clusters_is_that_of_their_best_names(mnist):
    labels = np.repeat(np.arange(10), 3)
    assert mnist.accuracy(labels, (labels + 4) % 10) == 1
    assert mnist.accuracy(labels, np.zeros(30, int)) == pytest.approx(0.1)  # nine clusters are empty
    assert mnist.accuracy(labels, np.where(labels == 1, 0, labels)) == pytest.approx(0.9)


def test_deformed_digits_are_digits_still_and_always_the_same(mnist):
    x, labels = mnist.deformed(2)
    assert x.shape == (2 * 1797, 784)
    assert 0 <= x.min() < x.max() <= 1
    one, other = x[::2], x[1::2]
    assert np.abs(one - other).mean(axis=1).min() > 0.01  # no two copies are alike
    nearest = (one**2).sum(axis=1) - 2 * other @ one.T
    assert np.mean(labels[::2][nearest.argmin(axis=1)] == labels[1::2]) > 0.7
    np.testing.assert_array_equal(mnist.deformed(2)[0], x)


@pytest.mark.long
def test_a_consensus_of_images_tells_each_way_of_joining_its_runs(mnist, monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    x = ((np.arange(12) // 3 == labels[:, None]) ^ (rng.random((200, 12)) < 0.05)).astype(np.float32)
    monkeypatch.setattr(mnist, "N_CLUSTERS", 4)
    monkeypatch.setattr(mnist, "N_TO_SPARE", 6)
    monkeypatch.setattr(mnist, "N_RUNS", 2)
    model = mnist.SHORT.model._replace(latent_dim=2, learning_rate=1e-2)
    settings = replace(mnist.SHORT, widths=(16,), epochs=(15, 5), model=model)
    settings = replace(settings, training=replace(settings.training, batch_size=32))
    found, clusters = mnist.agree(x, labels, 0, settings, None)
    assert found["accuracy"] == mnist.accuracy(labels, clusters.astype(int))
    assert found["accuracy"] > 0.6
    assert found["accuracy_by_linkage"][found["linkage"]] == found["accuracy"]
    assert set(found["accuracy_by_linkage"]) == {"average", "ward"}


@pytest.mark.long
def test_a_stopped_run_on_images_goes_on_to_the_same_answer(mnist, tmp_path, monkeypatch):
    pixels, labels = load_digits(return_X_y=True)
    x, labels = (pixels[:300] / 16).astype(np.float32), labels[:300]
    settings = replace(mnist.DIGITS, widths=(32,), epochs=(2, 4))
    monkeypatch.setattr(mnist.checkpoints, "EVERY", 0.0)

    def run(course, stop_at=None):
        def on_line():
            if stop_at == (course[-1]["stage"], course[-1]["epoch"]):
                raise KeyboardInterrupt

        mnist.run(x, labels, {"3": course}, settings, 2, tmp_path / "runs" / "seed-3", on_line)

    whole, course = [], []
    run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(course, ("fine-tuning", 4))
    run(course)
    for one in (*whole, *course):
        del one["seconds"]
    assert course == whole
    places = [(one["stage"], one["epoch"]) for one in whole]
    assert places == [("pretraining", 2), ("mixture start", 0), ("fine-tuning", 2), ("fine-tuning", 4)]
    assert all(np.isfinite(one["loss"]) for one in whole if "loss" in one)
    assert 0.1 <= whole[-1]["accuracy"] <= 1
    assert 1 <= whole[-1]["alive"] <= 10
    assert not any((tmp_path / "runs").rglob("*seed-3*"))


def test_a_file_that_is_not_mnist_is_refused(mnist, tmp_path):
    with pytest.raises(ValueError, match="found no file"):
        mnist.load(tmp_path / "absent.npz")
    np.savez(tmp_path / "other.npz", rows=np.zeros(3))
    with pytest.raises(ValueError, match="found rows in"):
        mnist.load(tmp_path / "other.npz")


@pytest.fixture
def torch(scripts):
    """PyTorch, where it is installed."""
    return pytest.importorskip("torch")


@pytest.mark.parametrize(("latent_dim", "n_clusters"), [(2, 0), (5, 7)])
def test_the_baseline_in_pytorch_has_our_loss_and_gradients(torch, latent_dim, n_clusters):
    agreement = importlib.import_module("baselines.agreement")
    found = agreement.check(6, latent_dim, n_clusters)
    assert found["float64"] <= 1e-9
    assert found["float32"] <= 1e-4


@pytest.mark.parametrize(("latent_dim", "n_clusters"), [(2, 0), (5, 7)])
def test_every_program_in_pytorch_steps_as_ours(torch, monkeypatch, latent_dim, n_clusters):
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)  # which takes a compiler of C++
    agreement = importlib.import_module("baselines.agreement")
    found = agreement.check_steps(6, latent_dim, n_clusters)
    ways = {"our weights", "compiled", "recorded"}
    assert set(found) == {"idiomatic", "tuned", "stacked"} | {f"tuned, {way}" for way in ways}
    assert max(found.values()) <= 1e-6
    # Other steps are told apart: AdamW without its decay.
    decay = torch.optim.AdamW

    def without(*arguments, weight_decay, **named):
        return decay(*arguments, weight_decay=0.0, **named)

    monkeypatch.setattr(torch.optim, "AdamW", without)
    with pytest.raises(RuntimeError, match="not the same steps"):
        agreement.check_steps(6, latent_dim, n_clusters)


@pytest.mark.parametrize("stage", ["pretraining", "fine-tuning"])
def test_one_compiled_model_serves_every_lane(torch, monkeypatch, stage):
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    programs = importlib.import_module("programs")
    x = np.random.default_rng(0).normal(size=(3000, 6)).astype(np.float32)
    each = [(0, Hyperparameters()), (1, Hyperparameters()), (0, Hyperparameters(latent_dim=3))]
    task = programs.Task(x, 2500, stage, each, 2)
    tuned, compiled = (programs.pytorch(name, task) for name in ("tuned", "tuned, compiled"))
    want = tuned()
    assert len(np.unique(want[:, -1])) == 3
    for _ in range(2):  # what the first call left must not be seen by the second
        np.testing.assert_allclose(compiled(), want, rtol=1e-6)


def test_a_recorded_training_is_the_tuned_one_and_begins_anew(torch):
    """Without CUDA its steps run unrecorded."""
    recorded, tuned, model = map(
        importlib.import_module, [f"baselines.{n}" for n in ("recorded", "tuned", "model")]
    )
    torch.manual_seed(0)
    rows, one = torch.randn(3000, 6), model.Vade(6, 2, 3)
    training, validation, settings = rows[:2500], rows[2500:], Hyperparameters()
    ours = recorded.Training(one, training, validation, settings)
    losses = []
    for _ in range(2):  # what the first call left must not be seen by the second
        torch.manual_seed(1)
        losses.append(ours.train(one, 2))
    torch.manual_seed(1)
    expected = tuned.train(deepcopy(one), training, validation, 2, settings)
    assert losses[0] == losses[1]
    assert losses[0] == pytest.approx(expected, rel=1e-5)
