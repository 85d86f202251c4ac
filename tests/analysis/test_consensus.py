"""The consensus of runs against co-association counted pair by pair, and what it must not depend on."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from jvade.analysis import consensus


def noisy(truth, n_runs, share, rng, n_clusters=4):
    """Runs that name the true groups by numbers of their own and misplace a share of the rows."""
    runs = []
    for _ in range(n_runs):
        run = rng.permutation(n_clusters)[truth]
        wrong = rng.random(len(truth)) < share
        run[wrong] = rng.integers(0, n_clusters, wrong.sum())
        runs.append(run)
    return runs


def test_rows_are_placed_by_their_average_co_association_with_the_members():
    """Brute force: in what share of the runs a row is with a member, averaged over the members."""
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 120, p=[0.6, 0.3, 0.1])
    runs = noisy(truth, 7, 0.35, rng)
    found = consensus.agree(runs, 3, seed=0, linkage="average", n_rows=120, smallest_share=0.05)
    together = np.mean([run[:, None] == run for run in runs], axis=0)
    # Average linkage as scikit-learn has it; all groups are large enough here.
    groups = AgglomerativeClustering(3, metric="precomputed", linkage="average").fit_predict(1 - together)
    groups = np.argsort(np.argsort(-np.bincount(groups)))[groups]  # by falling size
    scores = np.stack([together[:, groups == k].mean(axis=1) for k in range(3)], axis=1)
    np.testing.assert_array_equal(found.labels, scores.argmax(axis=1))


def test_wards_linkage_is_that_of_rows_of_memberships():
    """As scikit-learn has it of a row of 0 and 1 for each, which groups of like size are found by."""
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 240, p=[0.4, 0.35, 0.25])
    runs = noisy(truth, 9, 0.3, rng)
    memberships = np.concatenate([np.eye(4)[run] for run in runs], axis=1)
    groups = AgglomerativeClustering(3, linkage="ward").fit_predict(memberships)
    groups = np.argsort(np.argsort(-np.bincount(groups)))[groups]
    scores = np.stack([memberships @ memberships[groups == k].mean(axis=0) for k in range(3)], axis=1)
    found = consensus.agree(runs, 3, seed=0, linkage="ward", n_rows=240)
    np.testing.assert_array_equal(found.labels, scores.argmax(axis=1))


def test_wards_linkage_of_chances_is_that_of_rows_whose_distances_they_are():
    """A run that is unsure of two of its clusters: rows of features whose products are the chances."""
    rng = np.random.default_rng(1)
    truth = rng.choice(3, 200, p=[0.4, 0.35, 0.25])
    runs = noisy(truth, 5, 0.3, rng)
    features = [rng.normal(size=(4, 4)) + 2 * np.eye(4) for _ in runs]
    features = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in features]
    likeness = [np.clip(one @ one.T, 0, 1) for one in features]
    assert all(np.linalg.eigvalsh(one).min() > 0 for one in likeness)
    rows = np.concatenate(
        [np.linalg.cholesky(one)[run] for one, run in zip(likeness, runs, strict=True)], axis=1
    )
    groups = AgglomerativeClustering(3, linkage="ward").fit_predict(rows)
    tree = consensus._cut(np.sqrt(consensus._distances(np.stack(runs), likeness)), "ward", 200, 3, 0.0)
    assert adjusted_rand_score(groups, tree) == 1


def test_ward_makes_groups_of_like_size_and_average_keeps_what_lies_apart():
    """Two large groups that runs cut at random, and ten rows that none puts with them."""
    truth, rng = np.repeat([0, 1, 2], [300, 300, 10]), np.random.default_rng(0)
    runs = [np.where(truth == 2, 9, 3 * truth + rng.integers(0, 3, 610)) for _ in range(6)]
    by = {
        linkage: consensus.agree(runs, 2, seed=0, linkage=linkage, n_rows=610)
        for linkage in ("average", "ward")
    }
    assert np.bincount(by["average"].labels).tolist() == [600, 10]
    assert np.bincount(by["ward"].labels).min() >= 300


@pytest.mark.parametrize(("sizes", "taken"), [([300, 300, 10], "ward"), ([600, 0, 10], "average")])
def test_the_best_linkage_is_the_one_that_keeps_more_of_other_runs(sizes, taken):
    """Runs cut the large groups at random: where there is one of them, Ward's linkage follows chance."""
    truth, rng = np.repeat([0, 1, 2], sizes), np.random.default_rng(0)
    runs = [np.where(truth == 2, 9, 3 * truth + rng.integers(0, 3, 610)) for _ in range(6)]

    def by(linkage, some=slice(None), **how):
        return consensus.agree(runs[some], 2, seed=0, linkage=linkage, n_rows=200, **how)

    one, two = slice(0, None, 2), slice(1, None, 2)
    kept = {way: np.empty(6) for way in ("average", "ward")}
    for way, values in kept.items():
        for half, others in ((one, two), (two, one)):
            labels = by(way, half, n_draws=1).labels
            values[others] = [adjusted_rand_score(labels, run) for run in runs[others]]
        np.testing.assert_allclose(consensus.kept(runs, 2, 0, linkage=way, n_rows=200), values, atol=1e-12)
    more = kept["ward"] - kept["average"]
    assert (more.mean() > more.std(ddof=1) / np.sqrt(6)) == (taken == "ward")
    assert by("best").linkage == taken
    np.testing.assert_array_equal(by("best").labels, by(taken).labels)
    np.testing.assert_array_equal(by("best").support, by(taken).support)
    # With their own runs a cut of one group looks good too.
    own = {way: np.mean([adjusted_rand_score(by(way).labels, run) for run in runs]) for way in kept}
    assert own["ward"] > own["average"]


def test_rows_of_more_runs_than_a_word_can_count_are_told_apart():
    """Forty runs of 1,024 clusters: seven of them fill a word, and would push out what the first one says."""
    rng = np.random.default_rng(0)
    runs = list(rng.integers(0, 1024, (40, 300)))
    for run in runs:
        run[[1, 2]], run[3] = run[0], 1023
    runs[0][1], runs[-1][2] = (runs[0][0] + 1) % 1024, (runs[-1][0] + 1) % 1024
    shares = rng.random((40, 3, 1024))
    agreed = consensus.Agreed(shares, shares.argmax(axis=1))
    want = np.zeros((300, 3))
    for share, run in zip(shares, runs, strict=True):
        for row, label in enumerate(run):
            want[row] += share[:, label]
    np.testing.assert_allclose(
        consensus.memberships(agreed, runs), want / want.sum(axis=1, keepdims=True), rtol=1e-12
    )
    np.testing.assert_array_equal(consensus.assign(agreed, runs)[0], want.argmax(axis=1))


def test_the_support_is_the_share_of_the_runs_that_agree():
    """Two runs name the groups alike, however they cut them; the third has the last rows elsewhere."""
    first = np.repeat([0, 0, 0, 1, 1], 20)
    second = np.repeat([0, 1, 2, 3, 3], 20)
    third = np.repeat([0, 0, 0, 1, 0], 20)
    found = consensus.agree([first, second, third], 2, seed=0)
    np.testing.assert_array_equal(found.labels, first)
    np.testing.assert_allclose(found.support, np.repeat([1, 1, 1, 1, 2 / 3], 20), rtol=1e-6)


def test_more_groups_that_all_agree_on_than_asked_for_are_merged_not_lost():
    run = np.repeat(np.arange(10), 30)
    found = consensus.agree([run, run[::-1].copy()], 7, seed=0)
    assert len(np.unique(found.labels)) == 7
    assert (found.support > 0).all()
    for group in range(10):
        assert len(np.unique(found.labels[run == group])) == 1
    alone = consensus.agree([run], 7, seed=0)
    assert len(np.unique(alone.labels)) == 7
    np.testing.assert_array_equal(alone.support, 1)


def test_groups_that_no_run_joins_are_joined_by_likeness():
    """Six groups in three pairs, told apart by every run: whatever their numbers, pairs are joined."""
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(6), 40))
    chances = np.kron(np.eye(3), np.full((2, 2), 0.02)) + 0.01
    np.fill_diagonal(chances, 1)
    for _ in range(10):
        names = [rng.permutation(6) for _ in range(4)]
        runs = [name[group] for name in names]
        likeness = [chances[np.ix_(np.argsort(name), np.argsort(name))] for name in names]
        found = consensus.agree(runs, 3, seed=0, likeness=likeness)
        assert adjusted_rand_score(found.labels, group // 2) == 1
        np.testing.assert_array_equal(found.support, 1)


@pytest.mark.parametrize(("chance", "joined"), [(0.1, [0, 1, 0]), (0.3, [0, 0, 1])])
def test_chances_and_votes_are_added_up(chance, joined):
    """One run joins the first and the last, five are hardly sure that the first and the second are two."""
    group, mixed = np.repeat([0, 1, 2], 30), np.eye(3)
    mixed[0, 1] = mixed[1, 0] = chance
    runs, likeness = [np.array([0, 1, 0])[group], *[group] * 5], [np.eye(3), *[mixed] * 5]
    found = consensus.agree(runs, 2, seed=0, likeness=likeness)
    assert adjusted_rand_score(found.labels, np.array(joined)[group]) == 1


def test_distances_are_those_of_pairs_in_every_run():
    rng = np.random.default_rng(0)
    runs, likeness = rng.integers(0, 4, (3, 50)), rng.random((3, 4, 4))
    likeness = np.maximum((likeness + likeness.transpose(0, 2, 1)) / 2, np.eye(4))
    runs[2, runs[2] == 1] = 2  # a number that no row has
    np.testing.assert_allclose(consensus._distances(runs, None), pdist(runs.T, "hamming"))
    found = squareform(consensus._distances(runs, list(likeness)))
    for i, j in rng.integers(0, 50, (20, 2)):
        each = [1 - one[run[i], run[j]] for one, run in zip(likeness, runs, strict=True)]
        assert found[i, j] == pytest.approx(np.mean(each))


def test_runs_that_are_mostly_right_agree_on_what_is_right():
    """Each run misplaces four rows in ten, and no two agree well; together they find the groups."""
    rng = np.random.default_rng(1)
    truth = rng.choice(4, 3_000, p=[0.7, 0.2, 0.08, 0.02])
    runs = noisy(truth, 15, 0.4, rng)
    assert adjusted_rand_score(runs[0], runs[1]) < 0.4
    found = consensus.agree(runs, 4, seed=0, n_rows=1_000)
    assert adjusted_rand_score(truth, found.labels) > 0.99
    # A row that all runs place well has more support than one that few do.
    right = np.mean([run == np.bincount(run[truth == 0]).argmax() for run in runs], axis=0)[truth == 0]
    assert np.corrcoef(right, found.support[truth == 0])[0, 1] > 0.9


def test_splits_that_differ_from_run_to_run_are_joined_again():
    rng = np.random.default_rng(2)
    truth = rng.choice(3, 4_000, p=[0.8, 0.15, 0.05])
    runs = []
    for _ in range(12):  # every run cuts the largest group in three, elsewhere each time
        runs.append(np.where(truth == 0, 2 + rng.integers(1, 4, 4_000), truth))
    found = consensus.agree(runs, 3, seed=0, n_rows=1_500)
    assert adjusted_rand_score(truth, found.labels) == 1.0


def test_names_order_of_runs_and_rows_change_nothing():
    rng = np.random.default_rng(3)
    truth = rng.choice(4, 500, p=[0.5, 0.3, 0.15, 0.05])
    runs = noisy(truth, 8, 0.2, rng)
    found = consensus.agree(runs, 4, seed=0, n_rows=500)
    renamed = [rng.permutation(4)[run] for run in runs[::-1]]
    again = consensus.agree(renamed, 4, seed=0, n_rows=500)
    np.testing.assert_array_equal(found.labels, again.labels)
    np.testing.assert_allclose(found.support, again.support)
    some, again = (consensus.agree(one, 4, seed=0, n_rows=200) for one in (runs, renamed))
    np.testing.assert_array_equal(some.labels, again.labels)
    assert some.agreed.shares.shape == found.agreed.shares.shape
    order = rng.permutation(500)
    moved = consensus.agree([run[order] for run in runs], 4, seed=0, n_rows=500)
    np.testing.assert_array_equal(moved.labels, found.labels[order])


def stand_in(monkeypatch, names):
    """Have each subset answer by its own numbers of the clusters of the only run; return their sizes."""
    linked = []

    def answer(few, *_):
        name = np.array(names[len(linked)])
        linked.append(few.shape)
        shares = (np.arange(name.max() + 1)[:, None] == name).astype(float)[None]
        return consensus.Agreed(shares, name[None])

    monkeypatch.setattr(consensus, "_linked", answer)
    return linked


def test_of_several_subsets_the_median_answers_by_rows(monkeypatch):
    """One cluster of the run has 96 of 100 rows: who cuts it matters more than who joins what of the rest."""
    run = np.repeat([0, 1, 2, 3, 4], [48, 48, 2, 1, 1])
    joins, cuts = [0, 0, 1, 1, 2], [0, 1, 1, 2, 2]
    names = [joins, cuts, [0, 1, 2, 2, 2], [0, 1, 2, 0, 0], [0, 0, 0, 1, 2]]
    each = [np.array(name)[run] for name in names]
    alike = np.array([[adjusted_rand_score(a, b) for b in each] for a in each]).sum(axis=1)
    of_kinds = np.array([[adjusted_rand_score(a, b) for b in names] for a in names]).sum(axis=1)
    assert alike.argmax() != of_kinds.argmax()
    assert alike.argmax() not in (0, 4)
    linked = stand_in(monkeypatch, names)
    found = consensus.agree([run], 3, seed=0, linkage="average", n_rows=50)
    assert linked == [(1, 50)] * 5
    np.testing.assert_array_equal(found.labels, each[alike.argmax()])


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        # A cluster that one subset of five finds is none; one that three find is.
        ([[0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 2, 2], [0, 0, 1, 1], [0, 1, 1, 1]], [0, 0, 1, 1]),
        ([[0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 2, 2], [0, 1, 1, 2], [0, 1, 2, 2]], [0, 1, 2, 2]),
        # Of the three with three clusters the first two agree; both others are like the third.
        ([[0, 1, 2, 2], [0, 1, 2, 2], [0, 1, 1, 2], [0, 1, 1, 1], [0, 1, 1, 1]], [0, 1, 2, 2]),
    ],
)
def test_the_answer_has_the_median_number_of_clusters(monkeypatch, names, answer):
    run = np.repeat([0, 1, 2, 3], [40, 30, 20, 10])
    stand_in(monkeypatch, names)
    found = consensus.agree([run], 4, seed=0, linkage="average", n_rows=50)
    np.testing.assert_array_equal(found.labels, np.array(answer)[run])


def test_where_a_subset_has_all_rows_there_is_one(monkeypatch):
    linked = stand_in(monkeypatch, [[0, 1]] * 5)
    consensus.agree([np.repeat([0, 1], 50)], 2, seed=0, linkage="average", n_rows=100)
    assert linked == [(1, 100)]


def test_the_median_varies_less_from_seed_to_seed_than_one_subset():
    rng = np.random.default_rng(0)
    runs = noisy(rng.choice(4, 4_000, p=[0.6, 0.3, 0.07, 0.03]), 5, 0.5, rng)

    def spread(n_draws):
        found = [
            consensus.agree(runs, 4, seed, n_rows=150, n_draws=n_draws, smallest_share=0.02).labels
            for seed in range(8)
        ]
        return np.mean([adjusted_rand_score(a, b) for i, a in enumerate(found) for b in found[:i]])

    assert spread(9) > spread(1) + 0.02


def test_clusters_are_numbered_by_their_size_among_all_rows():
    """Not among those that are linked, where groups of a size may come in another order."""
    truth = np.repeat(np.arange(6), [1050, 1040, 1030, 1020, 1010, 1000])
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(6)
        found = consensus.agree([order[truth]] * 3, 6, seed=seed, n_rows=300, n_draws=1)
        np.testing.assert_array_equal(np.bincount(found.labels), [1050, 1040, 1030, 1020, 1010, 1000])
        np.testing.assert_array_equal(consensus.assign(found.agreed, [order[truth]] * 3)[0], found.labels)


def test_rows_are_placed_one_by_one():
    """Against the definition: the mean share of the members that each run puts where it puts the row."""
    rng = np.random.default_rng(5)
    runs = noisy(rng.choice(4, 300), 5, 0.4, rng)
    agreed = consensus.agree(runs, 4, seed=0).agreed
    new = [rng.integers(0, agreed.shares.shape[2], 200) for _ in runs]
    scores = np.array(
        [
            [
                sum(s[k, run[i]] for s, run in zip(agreed.shares, new, strict=True))
                for k in range(agreed.shares.shape[1])
            ]
            for i in range(200)
        ]
    )
    labels, support = consensus.assign(agreed, new)
    np.testing.assert_array_equal(labels, scores.argmax(axis=1))
    owned = [
        [owner[run[i]] == labels[i] for owner, run in zip(agreed.owners, new, strict=True)]
        for i in range(200)
    ]
    np.testing.assert_allclose(support, np.mean(owned, axis=1))
    shown = consensus.memberships(agreed, new)
    some = scores.any(axis=1)
    np.testing.assert_allclose(shown[some], scores[some] / scores[some].sum(axis=1, keepdims=True))
    labels, support = consensus.assign(agreed, [run[:0] for run in new])
    assert (len(labels), len(support)) == (0, 0)


def test_new_rows_are_placed_as_old_ones_are_whatever_comes_with_them():
    rng = np.random.default_rng(4)
    truth = rng.choice(4, 800)
    runs = noisy(truth, 6, 0.3, rng)
    found = consensus.agree(runs, 4, seed=0, n_rows=300)
    labels, support = consensus.assign(found.agreed, [run[5:50] for run in runs])
    np.testing.assert_array_equal(labels, found.labels[5:50])
    np.testing.assert_array_equal(support, found.support[5:50])


def test_groups_that_are_too_small_are_no_clusters():
    truth = np.repeat([0, 1, 2, 3], [600, 300, 97, 3])
    found = consensus.agree([truth, truth], 3, seed=0, linkage="average", smallest_share=0.01)
    assert np.bincount(found.labels).tolist() == [603, 300, 97]  # the three go somewhere
    found = consensus.agree([truth, truth], 4, seed=0, smallest_share=0.0)
    assert np.bincount(found.labels).tolist() == [600, 300, 97, 3]


def test_a_new_row_may_lie_where_no_old_one_does():
    run = np.repeat([0, 1], [60, 40])
    found = consensus.agree([run, run], 2, seed=0, n_labels=4)
    labels, support = consensus.assign(found.agreed, [np.array([1, 3]), np.array([3, 3])])
    assert labels.tolist() == [1, 0]  # where one run puts it; with the largest
    assert support.tolist() == [0.5, 0.0]


def test_many_clusters_may_be_as_small_as_they_must():
    run = np.repeat(np.arange(300), 2)
    found = consensus.agree([run, run], 300, seed=0)
    assert len(np.unique(found.labels)) == 300


@pytest.mark.parametrize("n_clusters", [1, 5])
def test_fewer_groups_than_asked_for(n_clusters):
    """Runs that all say the same two groups have no more to give; one run of one row is a cluster."""
    run = np.repeat([0, 1], [60, 40])
    found = consensus.agree([run, 1 - run], n_clusters, seed=0)
    assert len(np.unique(found.labels)) == min(n_clusters, 2)
    assert consensus.agree([np.zeros(1, int)], 1, seed=0).labels.tolist() == [0]


@pytest.mark.parametrize(
    ("runs", "n_clusters", "words"),
    [
        ([], 2, "expected one or more runs"),
        ([np.zeros(3, int), np.zeros(4, int)], 2, r"got rows: \[3, 4\]"),
        ([np.zeros(3, int)], 0, r"expected 1 to the number of rows \(3\), got 0"),
        ([np.zeros(3, int)], 4, "got 4"),
    ],
)
def test_bad_input_is_named(runs, n_clusters, words):
    with pytest.raises(ValueError, match=words):
        consensus.agree(runs, n_clusters, seed=0)


def test_no_subset_is_refused():
    with pytest.raises(ValueError, match="n_draws: expected at least 1, got 0"):
        consensus.agree([np.zeros(3, int)], 1, seed=0, n_draws=0)
    with pytest.raises(ValueError, match="linkage: expected one of best, average, ward, got 'single'"):
        consensus.agree([np.zeros(3, int)], 1, seed=0, linkage="single")
