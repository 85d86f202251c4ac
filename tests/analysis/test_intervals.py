"""Bootstrap intervals against an explicit loop with the same draws, and against means that are known."""

import numpy as np
import pandas as pd
import pytest

from jvade.analysis import intervals

RNG = np.random.default_rng(0)
N = 400
PATIENTS = RNG.integers(1000, 1090, N)
LABELS = RNG.choice([1, 4, 6], N, p=[0.6, 0.3, 0.1])
COST = 1e5 + RNG.normal(size=N)  # in float32 only two decimals would be left
AGE = np.where(RNG.random(N) < 0.3, np.nan, RNG.normal(50, 10, N))
FAR = np.where(LABELS == 4, np.nan, RNG.random(N) < 0.5)
VALUES = {"cost": COST, "age": AGE, "far": FAR}


def slow(values, labels, patients, seed, n_boot, level=0.95):
    """Every resample written out, visit by visit."""
    everyone = np.unique(patients)
    of_patient = {patient: np.flatnonzero(patients == patient) for patient in everyone}
    means = []
    for counts in intervals.draw(seed, len(everyone), n_boot):
        rows = np.concatenate(
            [np.tile(of_patient[p], n) for p, n in zip(everyone, counts, strict=True) if n > 0]
        )
        frame = pd.DataFrame({name: column[rows] for name, column in values.items()})
        table = frame.groupby(labels[rows]).mean().reindex(np.unique(labels))
        table.loc["overall"] = frame.mean()
        means.append(table.stack(future_stack=True))
    means = pd.DataFrame(means)
    return means.quantile([(1 - level) / 2, (1 + level) / 2]), means.notna().sum()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("block", [1, 700, 10**7])
def test_intervals_equal_an_explicit_loop(monkeypatch, known, block):
    monkeypatch.setattr(intervals, "BLOCK", block)
    patients = PATIENTS if known else None
    got = intervals.bootstrap(VALUES, LABELS, patients, seed=3, n_boot=40, level=0.9)
    ends, counts = slow(VALUES, LABELS, PATIENTS if known else np.arange(N), 3, 40, 0.9)
    assert list(got.columns) == ["variable", "cluster", "low", "high", "n_boot"]
    assert len(got) == 12
    for row in got.to_dict("records"):
        cell = (row["cluster"], row["variable"])
        np.testing.assert_allclose([row["low"], row["high"]], ends[cell], rtol=0, atol=1e-5)
        assert row["n_boot"] == counts[cell]


def test_draws_are_of_as_many_patients_as_there_are():
    draws = np.stack(list(intervals.draw(0, 50, 400)))
    assert (draws.sum(axis=1) == 50).all()
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.25)
    # Each patient is drawn Binomial(50, 1 / 50) times.
    assert draws.var() == pytest.approx(0.98, abs=0.05)


def test_intervals_follow_the_seed_only():
    one, two, other = (intervals.bootstrap(VALUES, LABELS, PATIENTS, seed, 30) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, two)
    assert (one["low"] != other["low"]).any()


def test_names_of_clusters_and_patients_change_nothing():
    names = {1: 30, 4: 20, 6: 10}
    one = intervals.bootstrap(VALUES, LABELS, PATIENTS, 0, 30)
    two = intervals.bootstrap(VALUES, np.vectorize(names.get)(LABELS), PATIENTS * 7, 0, 30)
    one["cluster"] = one["cluster"].replace(names)
    keys = ["variable", "cluster"]
    one, two = (table.set_index(keys).sort_index(key=lambda x: x.astype(str)) for table in (one, two))
    pd.testing.assert_frame_equal(one, two, check_exact=False, rtol=1e-9)


def test_a_variable_that_a_cluster_never_has_is_blank_there_only():
    got = intervals.bootstrap({"far": FAR}, LABELS, PATIENTS, 0, 20).set_index("cluster")
    assert got.loc[4, ["low", "high"]].isna().all()
    assert got.loc[4, "n_boot"] == 0
    assert got.loc[[1, "overall"], ["low", "high"]].notna().all(axis=None)


def test_resamples_without_the_cluster_are_counted_out():
    """One patient has all of cluster 2: a third of the resamples of many patients lack it."""
    labels, patients = np.where(np.arange(50) < 3, 2, 1), np.maximum(np.arange(50), 2)
    got = intervals.bootstrap({"x": np.full(50, 5.0)}, labels, patients, 0, 300).set_index("cluster")
    assert got.loc[1, "n_boot"] == 300
    assert got.loc[2, "n_boot"] / 300 == pytest.approx(1 - np.exp(-1), abs=0.08)
    assert got.loc[2, ["low", "high"]].tolist() == [5.0, 5.0]


def clustered(rng):
    """Thirty patients of ten visits each, all alike: what a patient has is normal around 0."""
    patients = np.repeat(np.arange(30), 10)
    return rng.normal(size=30)[patients] + 0.1 * rng.normal(size=300), patients


def test_intervals_over_patients_hold_the_mean_and_those_over_visits_do_not():
    rng = np.random.default_rng(5)
    held = {True: 0, False: 0}
    wider = 0
    for seed in range(100):
        values, patients = clustered(rng)
        widths = {}
        for known in held:
            got = intervals.bootstrap(
                {"x": values}, np.ones(300, int), patients if known else None, seed, n_boot=200
            )
            low, high = got.loc[got["cluster"] == "overall", ["low", "high"]].to_numpy()[0]
            held[known] += low <= 0 <= high
            widths[known] = high - low
        wider += widths[True] > widths[False]
    assert wider == 100
    assert 86 <= held[True] <= 99
    assert held[False] < 60
