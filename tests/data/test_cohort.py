"""The simulated district against Table 7."""

import numpy as np
import pandas as pd
import pytest

from jvade.data import published
from jvade.data.cohort import UNPUBLISHED, ZONES, simulate
from jvade.data.variables import DIAGNOSES, LEVELS, OUTCOME, STUDY_INPUTS

N = 400_000
PLAIN = ("age", "cost", "visits_this_year")  # not percent
# Standard error of a mean is sd / sqrt(n): tolerances are five of them, plus the rounding of Table 7 and,
# for age, the little that the ends at 0 and 105 cut off.
ROUNDING = {"age": 0.6, "female": 0.5}


@pytest.fixture(scope="module")
def cohort():
    return simulate(N, seed=1)


def test_is_a_whole_visit_table(cohort):
    assert cohort.inputs == STUDY_INPUTS
    assert len(cohort.names) == 38
    assert set(cohort.names) | set(cohort.extras) | {OUTCOME, "row"} == set(cohort.frame)
    assert not set(cohort.names) & set(cohort.extras)
    kinds = {v.name: np.float32 if v.kind == "numeric" else np.uint8 for v in STUDY_INPUTS}
    assert {name: cohort.frame[name].dtype for name in cohort.names} == kinds
    assert cohort.outcome.dtype == bool


def test_missing_costs_are_dropped_and_counted(cohort):
    account = cohort.account
    assert account.rows_read == N
    assert account.kept == len(cohort.frame) == N - account.missing_cost
    assert account.missing_cost / N == pytest.approx(0.018, abs=0.001)
    assert cohort.frame["row"].is_monotonic_increasing
    assert cohort.frame["row"].between(1, N).all()
    assert "dropped, no cost" in "\n".join(account.lines())


def test_means_of_every_type_are_those_of_table_7(cohort):
    frame = cohort.frame
    groups = frame.groupby("planted_type")
    means = published.type_means()
    names = [name for name in means.index if name in frame and name != "share_of_visits"]
    assert len(names) == 26
    errors, limits = {}, {}
    for name in names:
        times = 1 if name in PLAIN else 100
        errors[name] = (groups[name].mean() * times - means.loc[name]).abs()
        limits[name] = 5 * times * groups[name].std() / np.sqrt(groups.size()) + ROUNDING.get(name, 0.06)
    excess = pd.DataFrame(errors) - pd.DataFrame(limits)
    assert (excess <= 0).all(axis=None), excess[excess > 0].stack()


def test_shares_zones_and_destinations_are_those_of_table_7(cohort):
    frame, means = cohort.frame, published.type_means()
    share = frame["planted_type"].value_counts(normalize=True).sort_index() * 100
    np.testing.assert_allclose(share, means.loc["share_of_visits"], atol=0.3)
    zones = pd.crosstab(frame["zone"], frame["planted_type"], normalize="columns")[6] * 100
    np.testing.assert_allclose(zones[list(ZONES)], means.loc[list(ZONES), 6], atol=0.5)
    away = frame[frame[OUTCOME]]
    places = pd.crosstab(away["destination"], away["planted_type"], normalize="columns")[3] * 100
    names = ["city_centre", "adjacent_suburb", "non_adjacent_suburb"]
    np.testing.assert_allclose(places[names], means.loc[names, 3], atol=2)
    assert ((frame["destination"] == "home") == ~frame[OUTCOME]).all()


def test_exclusive_flags(cohort):
    frame = cohort.frame
    assert (frame[[v.name for v in LEVELS]].sum(axis=1) == 1).all()
    assert (frame[[v.name for v in DIAGNOSES]].sum(axis=1) <= 1).all()
    assert not (frame["specialty"] & frame["community"]).any()
    for name, percent in UNPUBLISHED.items():
        assert frame[name].mean() * 100 == pytest.approx(percent, abs=0.05)


def test_subdistricts_lie_in_their_zone(cohort):
    frame = cohort.frame
    names = [f"subdistrict_{i:02d}" for i in range(1, 11)]
    assert (frame[names].sum(axis=1) <= 1).all()
    last = dict(zip(ZONES, np.cumsum(list(ZONES.values())), strict=True))
    assert frame.loc[frame[names[: last["inner"]]].any(axis=1), "zone"].eq("inner").all()
    assert frame.loc[frame[names].sum(axis=1) == 0, "zone"].eq("outer").all()
    shares = frame[names].mean().to_numpy()
    assert shares[:4] == pytest.approx(shares[0], abs=0.01)


def test_history_is_strict(cohort):
    frame = cohort.frame
    first = frame["visits_this_year"] == 0
    assert (frame["days_since_last_visit"].isna() == first).all()
    assert not frame.loc[first, "crossed_before"].any()
    assert frame["days_since_last_visit"].dropna().between(0, 365).all()
    assert first.mean() == pytest.approx(0.57 / 3.65, abs=0.01)
    assert frame["age"].between(0, 105).all()
    assert (frame["cost"] > 0).all()
    assert frame["days_since_last_visit"].corr(frame["visits_this_year"]) < -0.2


def test_same_seed_same_cohort_other_seed_another():
    first, again, other = simulate(5000, 7), simulate(5000, 7), simulate(5000, 8)
    pd.testing.assert_frame_equal(first.frame, again.frame)
    assert not first.frame["age"].equals(other.frame["age"])
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        simulate(0, 1)


def test_published_tables():
    assert published.load("table3_latent_dimension")["latent_dim"].tolist() == [2, 5, 10, 15, 20, 25, 30]
    table4 = published.load("table4_latent_correlation").set_index("latent")
    assert table4.loc["z2", "visits_this_year"] == 0.8097
    assert table4.isna().to_numpy().sum() == 5
    assert published.load("table5_comparison")["n_clusters"].tolist() == [10, 9, 7]
    assert len(published.load("table6_stability")) == 8
    table7 = published.load("table7_profiles").set_index("variable")
    # The share-weighted means of the types give the published overall column.
    weights = published.type_means().loc["share_of_visits"] / 100
    for name in ("age", "cost", "community"):
        assert (published.type_means().loc[name] * weights).sum() == pytest.approx(
            table7.loc[name, "overall"], rel=0.01
        )
    with pytest.raises(ValueError, match="no published table 'table8'; expected one of table3"):
        published.load("table8")
