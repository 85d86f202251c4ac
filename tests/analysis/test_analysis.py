"""Indices, numbering and profiles against cases worked by hand, scikit-learn and pandas."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from jvade.analysis import comparison, indices, profiles
from jvade.analysis.comparison import Clustering
from jvade.analysis.profiles import Row

SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [10.0, 0.0], [10.0, 1.0]], np.float32)


def test_indices_of_four_points_by_hand():
    got = indices.score(SQUARE, np.array([1, 1, 2, 2]))
    # Each point: a = 1, b = (10 + sqrt(101)) / 2.
    b = (10 + np.sqrt(101)) / 2
    assert got.silhouette == pytest.approx((b - 1) / b)
    # Spread 0.5 in both clusters, centers 10 apart.
    assert got.davies_bouldin == pytest.approx(0.1)
    # Between: 4 * 25; within: 4 * 0.25; (100 / 1) / (1 / 2).
    assert got.calinski_harabasz == pytest.approx(200.0)


def test_indices_of_one_cluster_or_of_singletons_are_blank():
    for labels in (np.ones(4, int), np.arange(4)):
        assert np.isnan(indices.score(SQUARE, labels)).all()


def test_subset_is_seeded_distinct_and_everything_when_small():
    one, two = indices.draw_subset(1000, 50, 1), indices.draw_subset(1000, 50, 1)
    assert np.array_equal(one, two)
    assert len(np.unique(one)) == 50
    assert not np.array_equal(one, indices.draw_subset(1000, 50, 2))
    assert np.array_equal(indices.draw_subset(7, 50, 1), np.arange(7))


def test_clusters_are_numbered_by_falling_cross_rate_then_size():
    labels = np.array([7, 7, 3, 3, 3, 5, 5, 5, 9])
    crossed = np.array([0, 0, 1, 1, 0, 1, 1, 0, 0], bool)
    # Rates: 3 and 5 two thirds and of equal size, 7 and 9 none, 7 being larger.
    assert comparison.number_by_cross_rate(labels, crossed).tolist() == [3, 3, 1, 1, 1, 2, 2, 2, 4]


def test_numbers_do_not_depend_on_the_names_of_clusters():
    rng = np.random.default_rng(0)
    labels, crossed = rng.integers(0, 5, 500), rng.random(500) < 0.3
    names = np.array([40, 10, 30, 20, 0])
    assert np.array_equal(
        comparison.number_by_cross_rate(labels, crossed),
        comparison.number_by_cross_rate(names[labels], crossed),
    )


def test_comparison_scores_own_and_common_space_on_every_subset():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    own = x[:, :2]
    labels, others = rng.integers(1, 4, 300), rng.integers(1, 3, 300)
    subsets = indices.draw_subsets(300, 100, 3, 0)
    assert np.array_equal(subsets[0], indices.draw_subset(300, 100, 0))
    assert len({tuple(rows) for rows in subsets}) == 3
    (whole,) = indices.draw_subsets(300, 300, 3, 0)  # no sampling, no sampling error
    assert np.array_equal(whole, np.arange(300))
    got = comparison.compare({"A": Clustering(own, labels), "B": Clustering(own, others)}, x, subsets)
    assert got["method"].tolist() == ["A", "B"]
    assert got["n_clusters"].tolist() == [3, 2]
    for row, names in enumerate((labels, others)):
        for points, suffix in ((own, ""), (x, "_common")):
            scores = [silhouette_score(points[rows].astype(float), names[rows]) for rows in subsets]
            assert got[f"silhouette{suffix}"][row] == pytest.approx(np.mean(scores))
            assert got[f"silhouette{suffix}_sd"][row] == pytest.approx(np.std(scores, ddof=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_equal_those_of_scipy_far_from_the_origin_too(dtype):
    rng = np.random.default_rng(0)
    points = (1000 + rng.normal(size=(300, 7))).astype(dtype)
    points[5:9] = points[4]  # coinciding
    got = indices.measure_distances(points)
    np.testing.assert_allclose(got, cdist(points, points), rtol=1e-9, atol=1e-6)
    assert np.all(np.diagonal(got) == 0)
    memory = np.full((300, 300), np.nan)
    assert indices.measure_distances(points, memory) is memory
    np.testing.assert_array_equal(memory, got)


def test_agreement_is_one_for_the_same_clusters_by_other_names():
    labels = np.array([1, 1, 2, 2, 3])
    assert comparison.agreement(np.array([5, 5, 9, 9, 7]), labels) == pytest.approx((1, 1))
    assert comparison.agreement(np.ones(5, int), labels)[0] == 0


def test_small_clusters_are_not_told_together_either():
    """Two clusters of three patients each: overall less the rest would tell of six."""
    labels = np.repeat([1, 2, 3, 4], [3, 3, 10, 20])
    crossed, patients = np.zeros(36, bool), np.arange(36)
    crossed[0] = True
    rates = profiles.cross_rates(labels, crossed, patients, min_patients=8)
    assert rates["visits"].isna().tolist() == [True, True, True, False, False]
    enough = profiles.cross_rates(
        np.repeat([1, 2, 3], [5, 5, 20]), crossed[:30], patients[:30], min_patients=8
    )
    assert enough["visits"].isna().tolist() == [True, True, False, False]


def test_sizes_count_patients_and_those_who_span_clusters():
    labels = np.array([1, 1, 1, 2, 2, 3])
    patients = np.array([10, 10, 11, 11, 12, 13])
    got = profiles.sizes(labels, patients, min_patients=1)
    assert got.table["cluster"].tolist() == ["1", "2", "3", "overall"]
    assert got.table["visits"].tolist() == [3, 2, 1, 6]
    assert got.table["patients"].tolist() == [2, 2, 1, 4]
    assert got.patients == 4
    assert got.in_several == pytest.approx(25)  # patient 11 only
    # Of cluster 1 one of two patients is elsewhere too; where one side is empty, the share would name it.
    np.testing.assert_equal(got.table["patients_elsewhere"].to_numpy(), [50, 50, np.nan, 25])
    hidden = profiles.sizes(labels, patients, min_patients=2)
    assert hidden.in_several is None
    assert hidden.table["patients_elsewhere"].isna().all()
    assert np.isnan(hidden.table["visits"][2])
    unknown = profiles.sizes(labels, None, min_patients=1)
    assert unknown.patients is None
    assert unknown.table["patients"].isna().all()


def test_kmeans_finds_separated_groups_and_is_seeded():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(c, 0.1, (50, 2)) for c in (0, 5, 10)]).astype(np.float32)
    labels = comparison.kmeans(x, 3, 0)
    assert len(np.unique(labels[:50])) == len(np.unique(labels[50:100])) == 1
    assert np.array_equal(labels, comparison.kmeans(x, 3, 0))


LABELS = np.array([1, 1, 1, 2, 2, 2])
FRAME = pd.DataFrame({"age": [10.0, 20.0, np.nan, 40.0, 50.0, 60.0], "female": [1, 0, 1, 0, 0, 0]})
ROWS = [Row("personal", "age", "years"), Row("personal", "female", "percent", 100.0)]


def test_profile_by_hand():
    got = profiles.profile(FRAME, ROWS, LABELS, min_patients=1)
    assert got["cluster1"].tolist() == pytest.approx([15.0, 200 / 3])
    assert got["cluster2"].tolist() == pytest.approx([50.0, 0.0])
    assert got["overall"].tolist() == pytest.approx([36.0, 100 / 3])
    assert got["cv"].tolist() == pytest.approx([17.5 / 32.5, 1.0])


def test_profile_equals_pandas():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=2000), "b": rng.normal(5, 2, 2000)})
    frame.loc[rng.random(2000) < 0.2, "a"] = np.nan
    labels = rng.integers(1, 6, 2000)
    got = profiles.profile(frame, [Row("g", "a", ""), Row("g", "b", "")], labels)
    want = frame.groupby(labels).mean().T
    np.testing.assert_allclose(got[[f"cluster{k}" for k in range(1, 6)]], want, rtol=1e-12)


def test_cross_rates_by_hand():
    crossed = np.array([1, 1, 0, 0, 0, 1], bool)
    got = profiles.cross_rates(LABELS, crossed, min_patients=1)
    assert got.index.tolist() == [1, 2, "overall"]
    assert got["share"].tolist() == pytest.approx([50.0, 50.0, 100.0])
    assert got["cross_rate"].tolist() == pytest.approx([200 / 3, 100 / 3, 50.0])
    assert got["ratio"].tolist() == pytest.approx([4 / 3, 2 / 3, 1.0])


THREE = np.repeat([1, 2, 3], [3, 4, 9])


def test_numbers_of_few_patients_are_blank_everywhere():
    """Three visits of one patient are one patient, not three."""
    patients = np.array([5, 5, 5, *range(10, 23)])
    crossed = np.arange(16) % 2 == 0
    frame = pd.DataFrame({"age": np.arange(16.0)})
    rates = profiles.cross_rates(THREE, crossed, patients, min_patients=3)
    table = profiles.profile(frame, [Row("personal", "age", "years")], THREE, patients, min_patients=3)
    assert rates.loc[1].isna().all()
    assert table["cluster1"].isna().all()
    # One blank beside an overall number could be told by the difference: the next smallest is blank too.
    assert rates.loc[2].isna().all()
    assert table["cluster2"].isna().all()
    assert rates.loc[3].notna().all()
    assert rates.loc["overall"].notna().all()
    # Without patients the visits are counted.
    assert profiles.cross_rates(THREE, crossed, None, min_patients=3).notna().all(axis=None)
    assert profiles.cross_rates(THREE, crossed, None, min_patients=4).loc[[1, 2]].isna().all(axis=None)


def test_two_small_clusters_need_no_third():
    rates = profiles.cross_rates(THREE, np.ones(16, bool), None, min_patients=5)
    assert rates["share"].isna().tolist() == [True, True, False, False]


def test_a_table_of_few_patients_has_no_overall_either():
    crossed = np.ones(16, bool)
    rates = profiles.cross_rates(THREE, crossed, np.arange(16) % 2, min_patients=3)
    assert rates.isna().all(axis=None)
    frame = pd.DataFrame({"age": np.arange(16.0)})
    table = profiles.profile(
        frame, [Row("personal", "age", "years")], THREE, np.arange(16) % 2, min_patients=3
    )
    assert np.isnan(table["overall"][0])


def test_a_mean_over_part_of_the_visits_counts_the_patients_of_that_part():
    """Such as destinations, which are known of crossing visits only."""
    part = np.where(np.arange(16) % 4 == 0, 1.0, np.nan)  # one visit of cluster 1, one of 2, two of 3
    table = profiles.profile(
        pd.DataFrame({"far": part}), [Row("d", "far", "percent", 100.0)], THREE, min_patients=2
    )
    assert table[["cluster1", "cluster2"]].isna().all(axis=None)
    assert table["cluster3"][0] == 100.0


def test_nobody_crossing_leaves_the_ratio_blank():
    got = profiles.cross_rates(LABELS, np.zeros(6, bool), min_patients=1)
    assert got["ratio"].isna().all()
    assert (got["cross_rate"] == 0).all()


def test_a_variable_missing_everywhere_is_blank():
    frame = pd.DataFrame({"age": np.full(6, np.nan)})
    got = profiles.profile(frame, [Row("personal", "age", "years")], LABELS, min_patients=1)
    assert got[["cluster1", "cluster2", "overall", "cv"]].isna().all(axis=None)
