"""Clusters against places and against published clusters: cases by hand, pandas, all permutations."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from jvade.analysis import association
from jvade.data import published

TABLE7 = published.load("table7_profiles")


def test_cramers_v_by_hand():
    labels, codes = np.repeat([1, 1, 2, 2], [3, 1, 1, 3]), np.repeat([0, 5, 0, 5], [3, 1, 1, 3])
    # Every cell differs by 1 from the 2 that is expected: chi-squared 4 * 1 / 2 = 2, of 8 visits.
    assert association.cramers_v(labels, codes) == pytest.approx(0.5)
    assert association.cramers_v(codes, labels) == pytest.approx(0.5)
    assert association.cramers_v(labels, labels) == pytest.approx(1.0)
    assert association.cramers_v(labels, np.tile([0, 1], 4)) == pytest.approx(0.0)


def test_cramers_v_leaves_out_what_is_unknown_and_needs_two_levels():
    labels, codes = np.array([1, 1, 2, 2, 2]), np.array([0, 0, 1, 1, -1])
    assert association.cramers_v(labels, codes) == pytest.approx(1.0)
    assert np.isnan(association.cramers_v(labels, np.zeros(5, int)))
    assert np.isnan(association.cramers_v(np.ones(5, int), codes))
    assert np.isnan(association.cramers_v(labels, np.array([0, 0, 0, 0, -1])))


def test_residence_by_hand():
    labels, codes = np.array([1, 1, 1, 1, 3, 3, 3, 3, 3]), np.array([0, 0, 0, 1, 0, 1, 1, 1, -1])
    got = association.residence_table(labels, codes, ["North", "South"], None, 1)
    assert got["subdistrict"].tolist() == ["North", "South"]
    assert got["cluster1"].tolist() == [75.0, 25.0]
    assert got["cluster3"].tolist() == [25.0, 75.0]
    assert got["overall"].tolist() == [50.0, 50.0]


def test_residence_equals_pandas():
    rng = np.random.default_rng(0)
    labels, codes, patients = rng.integers(1, 5, 3000), rng.integers(0, 6, 3000), rng.integers(0, 900, 3000)
    names = list("abcdef")
    got = association.residence_table(labels, codes, names, patients, 8).set_index("subdistrict")
    want = 100 * pd.crosstab(np.array(names)[codes], labels, normalize="columns")
    np.testing.assert_allclose(got.drop(columns="overall"), want)
    np.testing.assert_allclose(got["overall"], 100 * np.bincount(codes) / 3000)


def cells(counts, per_patient=1):
    """Visits by the number of patients in each cell."""
    counts = np.array(counts)
    codes, clusters = (np.repeat(x.ravel(), counts.ravel() * per_patient) for x in np.indices(counts.shape))
    patients = np.repeat(np.arange(counts.sum()), per_patient)
    return clusters, codes, patients


def test_a_cell_of_few_patients_takes_others_with_it_that_could_tell_it():
    clusters, codes, patients = cells([[3, 90, 80], [40, 20, 70], [50, 60, 30]], per_patient=5)
    got = association.residence_table(clusters, codes, list("abc"), patients, 8).set_index("subdistrict")
    blank = got.isna().to_numpy()
    # 3 is told by its row and its column: 40 of its column and 80 of its row go too. These are then alone
    # in theirs, and take 20 and 30, and so on until no line has a single blank.
    assert blank[0, 0]
    assert blank[1, 0]
    assert blank[0, 2]
    assert not np.any(blank.sum(axis=0) == 1)
    assert not np.any(blank.sum(axis=1) == 1)
    assert not blank.all()
    # Patients count, not visits.
    visits = association.residence_table(clusters, codes, list("abc"), None, 8)
    assert visits.notna().all(axis=None)


def test_a_place_where_nobody_lives_is_blank_and_takes_nothing_with_it():
    clusters, codes, patients = cells([[30, 40], [0, 0], [50, 60]])
    got = association.residence_table(clusters, codes, list("abc"), patients, 8).set_index("subdistrict")
    assert got.loc["b"].isna().all()
    assert got.loc[["a", "c"]].notna().all(axis=None)


def rows(unit="percent", **variables):
    """A profile from variable=numbers of the clusters."""
    lines = [
        {"group": "g", "variable": name, "unit": unit}
        | {f"cluster{k}": value for k, value in enumerate(values, start=1)}
        for name, values in variables.items()
    ]
    return pd.DataFrame(lines)


def test_pairs_and_distances_by_hand():
    # Standard deviations across the published clusters: 1 and 10.
    theirs = rows(a=[1.0, 3.0], b=[30.0, 10.0], share_of_visits=[1.0, 99.0], same=[5.8, 5.8])
    ours = rows(a=[3.5, 1.0], b=[10.0, 27.0], share_of_visits=[1.0, 99.0], same=[0.0, 9.0], own=[1.0, 2.0])
    got = association.match_profiles(ours, theirs)
    assert got["cluster"].tolist() == [1, 2]
    assert got["published"].tolist() == [2, 1]
    assert got["distance"].tolist() == pytest.approx([0.25, 0.15])


def test_a_blank_number_is_left_out_of_the_distance():
    theirs, ours = rows(a=[1.0, 3.0], b=[30.0, 10.0]), rows(a=[np.nan, 3.0], b=[28.0, 10.0])
    got = association.match_profiles(ours, theirs)
    assert got["published"].tolist() == [1, 2]
    assert got["distance"].tolist() == pytest.approx([0.2, 0.0])


def test_another_unit_is_another_variable():
    theirs = pd.concat([rows(a=[1.0, 3.0]), rows("yuan", cost=[100.0, 10.0])])
    ours = pd.concat([rows(a=[1.0, 3.0]), rows("reais", cost=[10.0, 100.0])])
    assert association.match_profiles(ours, theirs)["distance"].tolist() == [0.0, 0.0]
    pairs = association.match_profiles(ours, theirs)
    assert set(association.differences(ours, theirs, pairs)["variable"]) == {"a"}


def test_published_clusters_find_themselves_under_any_names():
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = rng.permutation(7) + 1
        columns = {f"cluster{name}": TABLE7[f"cluster{k}"] * 1.02 for k, name in enumerate(order, start=1)}
        ours = TABLE7[["group", "variable", "unit"]].assign(**columns)
        got = association.match_profiles(ours, TABLE7).set_index("published")["cluster"]
        assert got.loc[list(range(1, 8))].tolist() == order.tolist()


def test_the_pairs_are_the_best_of_all():
    rng = np.random.default_rng(3)
    for _ in range(10):
        ours, theirs = (rows(**{f"v{i}": x for i, x in enumerate(rng.normal(size=(3, 4)))}) for _ in range(2))
        names = [f"cluster{k}" for k in range(1, 5)]
        one, two = ours[names].to_numpy(), theirs[names].to_numpy()
        away = np.abs(one[:, :, None] - two[:, None, :]) / two.std(axis=1)[:, None, None]
        away = away.mean(axis=0)
        best = min(sum(away[i, j] for i, j in enumerate(order)) for order in permutations(range(4)))
        assert association.match_profiles(ours, theirs)["distance"].sum() == pytest.approx(best)


def test_clusters_that_are_left_over_are_listed():
    few = TABLE7.drop(columns=["cluster2", "cluster5"])
    got = association.match_profiles(few, TABLE7)
    assert got["cluster"].tolist()[:5] == got["published"].tolist()[:5] == [1, 3, 4, 6, 7]
    assert got["published"].tolist()[5:] == [2, 5]
    assert got.loc[5:, ["cluster", "distance"]].isna().all(axis=None)
    back = association.match_profiles(TABLE7, few)
    assert back["cluster"].tolist()[5:] == [2, 5]
    assert back.loc[5:, ["published", "distance"]].isna().all(axis=None)


def test_a_cluster_that_is_blank_has_no_partner():
    ours = TABLE7.assign(cluster3=np.nan)
    got = association.match_profiles(ours, TABLE7)
    assert got["cluster"].tolist()[:6] == got["published"].tolist()[:6] == [1, 2, 4, 5, 6, 7]
    assert got["cluster"].tolist()[6] == got["published"].tolist()[7] == 3
    assert got["distance"].isna().tolist() == [False] * 6 + [True] * 2


def test_a_blank_cluster_takes_no_partner_from_another():
    got = association.match_profiles(TABLE7.assign(cluster3=np.nan), TABLE7.drop(columns="cluster5"))
    pairs = got.dropna()
    # Six of ours are known and six are published.
    assert pairs["cluster"].tolist() == [1, 2, 4, 5, 6, 7]
    assert sorted(pairs["published"]) == [1, 2, 3, 4, 6, 7]


def test_differences_by_hand():
    theirs = rows(a=[1.0, 3.0], b=[30.0, 10.0], share_of_visits=[1.0, 99.0])
    ours = rows(a=[3.5, np.nan], own=[1.0, 2.0], b=[10.0, 27.0])
    got = association.differences(ours, theirs, association.match_profiles(ours, theirs))
    assert got["variable"].tolist() == ["a", "b"] * 2
    assert got["cluster"].tolist() == [1, 1, 2, 2]
    assert got["published_cluster"].tolist() == [2, 2, 1, 1]
    assert got["ours"].tolist()[:2] == [3.5, 10.0]
    assert got["published"].tolist() == [3.0, 10.0, 1.0, 30.0]
    np.testing.assert_allclose(got["difference"], [0.5, 0.0, np.nan, -3.0])
    assert list(got.columns[:3]) == ["group", "variable", "unit"]


def test_no_pairs_have_no_differences():
    theirs, ours = rows(a=[1.0, 3.0]), rows(other=[1.0, 3.0])
    pairs = association.match_profiles(ours, theirs)
    assert pairs["distance"].isna().all()
    assert len(association.differences(ours, theirs, pairs)) == 0
