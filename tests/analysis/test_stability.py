"""Stability over seeds: cases counted by hand, the published Table 6, scikit-learn."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from jvade.analysis import stability
from jvade.data import published

INDICES = ["silhouette", "calinski_harabasz", "davies_bouldin"]
REFERENCE = np.array([0, 0, 0, 1, 1, 2, 2, 2])
#: The same with other names (0, 1, 2 became 2, 0, 1), but the third visit moved.
OTHER = np.array([2, 2, 0, 0, 0, 1, 1, 1])


def noisy(rng, labels, n_clusters, share):
    return np.where(rng.random(len(labels)) < share, rng.integers(0, n_clusters, len(labels)), labels)


def test_summary_of_the_published_runs_is_the_published_summary():
    table = published.load("table6_stability")
    got = stability.summarise(table.iloc[:5])
    assert got["seed"].tolist() == table["seed"].tolist()
    assert got["n_runs"].tolist() == [1] * 5 + [5] * 3
    summary, theirs = got[INDICES].to_numpy(), table[INDICES].to_numpy()
    # Table 6 rounds to the third digit, and its CV is of rounded numbers.
    np.testing.assert_allclose(summary[:7], theirs[:7], atol=0.0005001)
    np.testing.assert_allclose(summary[7], theirs[7], atol=0.0012)


def test_summary_by_hand_leaves_out_a_run_without_indices():
    runs = pd.DataFrame({"seed": [1, 2, 3], "silhouette": [-1.0, np.nan, -3.0]})
    got = stability.summarise(runs).set_index("seed")
    assert got.loc[["mean", "sd", "cv"], "silhouette"].tolist() == [-2.0, 1.0, 0.5]
    assert got["n_runs"].tolist() == [1, 0, 1, 2, 2, 2]
    assert list(got.index) == ["1", "2", "3", "mean", "sd", "cv"]


def test_a_mean_of_zero_has_no_cv():
    got = stability.summarise(pd.DataFrame({"seed": [1, 2], "silhouette": [-1.0, 1.0]}))
    assert np.isnan(got["silhouette"].iloc[-1])


def test_agreement_equals_scikit_learn():
    rng = np.random.default_rng(0)
    runs = [rng.integers(0, 5, 400), rng.integers(1, 4, 400)]
    runs += [noisy(rng, runs[0], 5, 0.3), np.full(400, 3), np.arange(400)]
    got = stability.pairwise_ari(runs)
    want = [[adjusted_rand_score(one, two) for two in runs] for one in runs]
    np.testing.assert_allclose(got, want, atol=1e-12)
    assert got[0, 2] > 0.3 > abs(got[0, 1])
    # Of visits that stand for several, or for none.
    counts = rng.integers(0, 4, 400)
    each = [np.repeat(run, counts) for run in runs]
    np.testing.assert_array_equal(stability.pairwise_ari(runs, counts), stability.pairwise_ari(each))


def test_agreement_of_millions_of_visits_does_not_overflow():
    """Of 40 million visits a tenth moves; the products are near 10^30."""
    shared = 10**6 * np.array([[18, 2], [2, 18]])
    small = stability.adjusted_rand(shared // 10**5)
    assert stability.adjusted_rand(shared) == pytest.approx(0.64, abs=1e-6)
    assert small == pytest.approx(0.64, abs=0.01)


def test_clusters_take_the_numbers_of_the_reference():
    # Clusters of OTHER share with 0, 1, 2 of the reference: 0: (1, 2, 0); 1: (0, 0, 3); 2: (2, 0, 0).
    assert stability.align(REFERENCE, OTHER, 3).tolist() == [1, 2, 0]


def test_the_assignment_is_the_best_of_all_permutations():
    rng = np.random.default_rng(1)
    for _ in range(20):
        one, two = rng.integers(0, 4, (2, 30))
        got = stability.align(one, two, 4)
        assert sorted(got) == [0, 1, 2, 3]
        best = max(np.sum(np.array(names)[two] == one) for names in permutations(range(4)))
        assert np.sum(got[two] == one) == best


def test_a_greedy_choice_would_be_worse():
    """Both clusters would rather have number 0: the total decides."""
    one = np.repeat([0, 1, 0, 1], [5, 4, 4, 0])
    two = np.repeat([0, 0, 1, 1], [5, 4, 4, 0])
    assert stability.align(one, two, 2).tolist() == [1, 0]


def test_dead_clusters_keep_the_numbers_that_are_left():
    fixed, run = np.array([0, 0, 3, 3, 3]), np.array([2, 2, 1, 1, 1])
    got = stability.align(fixed, run, 5)
    assert sorted(got) == [0, 1, 2, 3, 4]
    assert got[[2, 1]].tolist() == [0, 3]


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_other_numbers_are_refused(labels):
    with pytest.raises(ValueError, match="numbered 0 to 2"):
        stability.align(np.array([0, 1]), np.array(labels), 3)


@pytest.mark.parametrize("first", [0, 1])
def test_runs_are_renamed_whether_numbered_from_zero_or_one(first):
    fixed, other = stability.aligned([REFERENCE + first, OTHER + first], 3)
    assert (fixed - first).tolist() == REFERENCE.tolist()
    assert (other - first).tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    other = stability.aligned([OTHER + first, REFERENCE + first], 3, reference=1)[0]
    assert (other - first).tolist() == [0, 0, 1, 1, 1, 2, 2, 2]


def test_runs_with_dead_clusters_are_renamed():
    """Numbered from 1; the second run has lost the third cluster, the third run the first number."""
    runs = [np.array([1, 1, 2, 2, 3, 3]), np.array([2, 2, 1, 1, 1, 1]), np.array([3, 3, 2, 2, 2, 2])]
    got = stability.aligned(runs, 3)
    assert got[1][:2].tolist() == got[2][:2].tolist() == [1, 1]
    assert set(got[1][2:]) in ({2}, {3})


def test_changes_by_hand():
    third = np.array([0, 0, 0, 1, 1, 2, 1, 1])
    got = stability.changes([REFERENCE, np.array([0, 0, 1, 1, 1, 2, 2, 2]), third])
    # One visit moves in the second run, two others in the third.
    assert got.changed == 37.5
    assert got.differ.tolist() == [0.0, 12.5, 25.0]
    assert got.kept.to_dict() == pytest.approx({0: 200 / 3, 1: 100.0, 2: 100 / 3})
    assert stability.changes([REFERENCE, third, third], reference=1).differ.tolist() == [25.0, 0.0, 0.0]


def test_names_of_clusters_change_nothing():
    rng = np.random.default_rng(2)
    base = rng.integers(0, 5, 600)
    runs = [base, noisy(rng, base, 5, 0.2), noisy(rng, base, 5, 0.4)]
    renamed = [runs[0], *(rng.permutation(7)[run] for run in runs[1:])]
    one, two = (stability.changes(stability.aligned(x, 7)) for x in (runs, renamed))
    assert one.changed == two.changed > 20
    assert one.differ.tolist() == two.differ.tolist()
    pd.testing.assert_series_equal(one.kept, two.kept)
    np.testing.assert_array_equal(stability.pairwise_ari(runs), stability.pairwise_ari(renamed))


def profile(**clusters):
    head = {"group": ["personal", "visit"], "variable": ["female", "cost"], "unit": ["percent", "yuan"]}
    return pd.DataFrame(head | clusters | {"overall": [50.0, 9.0], "cv": [1.0, 1.0]})


def test_spread_over_runs_by_hand():
    got = stability.spread(
        [
            profile(cluster2=[40.0, np.nan]),
            profile(cluster1=[10.0, 1.0], cluster2=[60.0, 7.0]),
            profile(cluster1=[30.0, 3.0]),
        ]
    )
    assert list(got.columns) == ["group", "variable", "unit", "cluster", "mean", "sd", "runs"]
    assert got["variable"].tolist() == ["female", "female", "cost", "cost"]
    assert got["unit"].tolist() == ["percent", "percent", "yuan", "yuan"]
    assert got["cluster"].tolist() == [1, 2, 1, 2]
    assert got["mean"].tolist() == [20.0, 50.0, 2.0, 7.0]
    assert got["sd"].tolist() == [10.0, 10.0, 1.0, 0.0]
    assert got["runs"].tolist() == [2, 2, 2, 1]


def test_a_number_blank_in_every_run_has_no_spread():
    got = stability.spread([profile(cluster1=[10.0, np.nan]), profile(cluster1=[10.0, np.nan])])
    assert got.loc[1, "runs"] == 0
    assert got.loc[1, ["mean", "sd"]].isna().all()


def test_distances_to_published_numbers_stand_beside_the_spread_of_the_runs():
    runs = pd.DataFrame({"silhouette": [0.1, 0.3, np.nan], "davies_bouldin": [1.0, 2.0, np.nan]})
    published = {
        "Table 5": pd.Series({"silhouette": 0.306}),
        "Table 6": pd.Series({"davies_bouldin": 0.843, "silhouette": 0.311}),
    }
    found = stability.distances(runs, published)
    assert found[["table", "index"]].values.tolist() == [
        ["Table 5", "silhouette"],
        ["Table 6", "davies_bouldin"],
        ["Table 6", "silhouette"],
    ]
    np.testing.assert_allclose(found["distance"], [0.2 - 0.306, 1.5 - 0.843, 0.2 - 0.311])
    np.testing.assert_allclose(found["sd"], [0.2 / 2**0.5, 1 / 2**0.5, 0.2 / 2**0.5])
