"""One clustering from many runs: what they agree on, row by row.

Evidence accumulation (Fred & Jain 2005): the co-association of two rows is the share of the runs that put
them in one cluster. Linkage over it keeps the borders that most runs draw well and drops those that only some
do. The runs may have more clusters than the answer, and better do: a run that must name seven types splits
where chance has it, one that may name fifteen splits those places too, and the linkage joins again what the
others keep together.

Where the runs tell more groups apart than are asked for, some must be joined that no run joins, and which of
them would be chance: all are equally far apart. So the vote of a run about two of its clusters may be a
chance in place of a no: that it would put a row of one and a row of the other together, saw it only a part of
either (`ensemble.likeness`). Votes are added up whatever they are: a border that every run draws, and is
hardly sure of, gives way before one that most draw and are sure of.

Linkage needs the distances of all pairs, so it is taken over some rows only, and which rows is chance too: it
moves the smallest clusters, and now and then a large one. So several subsets are linked, and the median of
their answers is taken: of those with the median number of clusters, the one that agrees most with the others.

How groups are joined suits some data and not others: average linkage keeps what is small and lies apart,
Ward's makes groups of like size. Where nothing else is asked for, half of the runs are joined by either, and
Ward's is taken where its groups agree clearly more with the other half. (Strehl & Ghosh 2002 take the
consensus that agrees most with the very runs it is made of: a cut where chance has it looks good there too.)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int
from pandas import factorize
from scipy.cluster import hierarchy

from jvade.analysis import stability

#: How groups are joined: "average" keeps what lies apart, however small; "ward" joins what adds the least to
#: the spread within groups, and so makes groups of like size; "best" is "ward" where that keeps more of runs
#: which it has not seen, else "average".
Linkage = Literal["best", "average", "ward"]
#: What "best" is chosen among, in words.
WAYS: dict[Linkage, str] = {"average": "average", "ward": "Ward's"}


class Agreed(NamedTuple):
    """All it takes to place rows by their clusters in the runs, new ones too; see `assign`.

    Args:
        shares: for each run, cluster of the consensus and cluster of the run: the share of the members of the
            former that the run puts in the latter.
        owners: for each cluster of a run, the cluster of the consensus whose members are the likeliest in it,
            be that cluster large or small; -1 where it has no member of any.
    """

    shares: Float[np.ndarray, "S K C"]
    owners: Int[np.ndarray, "S C"]


class Consensus(NamedTuple):
    """What many runs agree on.

    Args:
        agreed: what places rows.
        labels: cluster of each row, from 0 by falling size.
        support: of each row, the share of the runs that have it in a cluster owned by its own: 1 where every
            run agrees.
        linkage: how its groups were joined, "average" or "ward".
    """

    agreed: Agreed
    labels: Int[np.ndarray, " N"]
    support: Float[np.ndarray, " N"]
    linkage: Linkage


def assign(
    agreed: Agreed, runs: Sequence[Int[np.ndarray, " N"]]
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return for each row the cluster of the highest mean co-association with its members, and the support.

    A row that no run ever puts with a member of any cluster goes to the first, the largest: its support is 0.

    Args:
        agreed: of a consensus.
        runs: cluster of each row in each of its runs; the rows may be new.
    """
    kind, few = _kinds(runs)
    labels = _labels(agreed, few)
    return labels[kind], _support(agreed, few, labels)[kind]


def memberships(agreed: Agreed, runs: Sequence[Int[np.ndarray, " N"]]) -> Float[np.ndarray, "N K"]:
    """Return the mean co-association of each row with the members of each cluster, of the sum over clusters.

    `assign` gives the cluster of the largest. A row that no run puts with any member is wholly of the first.

    Args:
        agreed: see `assign`.
        runs: see `assign`.
    """
    kind, few = _kinds(runs)
    scores = _scores(agreed, few)
    scores[~scores.any(axis=1), 0] = 1
    return (scores / scores.sum(axis=1, keepdims=True))[kind]


def _kinds(
    runs: Sequence[Int[np.ndarray, " N"]],
) -> tuple[Int[np.ndarray, " N"], list[Int[np.ndarray, " M"]]]:
    """Return the kind of each row, and the cluster of each kind in each run.

    Rows that every run puts in the same clusters are of one kind: of millions there are a few thousand.
    """
    kind, n_kinds = np.zeros(len(runs[0]), np.int64), 1
    for run in runs:
        width = 1 + int(run.max(initial=0))
        if n_kinds * width > np.iinfo(kind.dtype).max:  # no number is left for each that there could be
            kind, found = factorize(kind)
            n_kinds = len(found)
        kind, n_kinds = kind * width + run, n_kinds * width
    kind, found = factorize(kind)
    one = np.empty(len(found), np.int64)
    one[kind] = np.arange(len(kind))  # any row of a kind will do
    return kind, [run[one] for run in runs]


def _labels(agreed: Agreed, runs: Sequence[Int[np.ndarray, " N"]]) -> Int[np.ndarray, " N"]:
    return np.argmax(_scores(agreed, runs), axis=1).astype(np.int16)


def _support(
    agreed: Agreed, runs: Sequence[Int[np.ndarray, " N"]], labels: Int[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    owned = [owner[run] == labels for owner, run in zip(agreed.owners, runs, strict=True)]
    return np.mean(owned, axis=0).astype(np.float32)


def _scores(agreed: Agreed, runs: Sequence[Int[np.ndarray, " N"]]) -> Float[np.ndarray, "N K"]:
    scores = np.zeros((len(runs[0]), agreed.shares.shape[1]))
    for shares, run in zip(agreed.shares, runs, strict=True):
        scores += shares.T[run]
    return scores


def agree(
    runs: Sequence[Int[np.ndarray, " N"]],
    n_clusters: int,
    seed: int,
    *,
    likeness: Sequence[Float[np.ndarray, "C C"]] | None = None,
    linkage: Linkage = "best",
    n_labels: int | None = None,
    n_rows: int = 5_000,
    n_draws: int = 5,
    smallest_share: float = 0.004,
) -> Consensus:
    """Return the clustering that the runs agree on.

    Linkage needs the distances of all pairs, so it is taken over a random subset of the rows; from
    there every row is placed by `assign`. The tree is cut until as many groups as asked for are no smaller
    than `smallest_share`; rows of smaller groups, which hardly any run agrees on, are placed like new ones.
    That is done for several subsets. Of their answers that have as many clusters as the median of them, the
    one is taken that has the highest mean adjusted Rand index with the others, over all rows.

    Args:
        runs: cluster of each row in each run, numbered from 0.
        n_clusters: clusters of the consensus; fewer where the runs do not tell as many groups apart.
        seed: of the subsets.
        likeness: of each run, the chance in [0, 1] that it puts a row of one of its clusters and a row of
            another together; symmetric, 1 on the diagonal. None: 0, they are apart.
        linkage: "average", by the mean share of the runs that part two groups; "ward", by the squares of the
            distances between rows of memberships, for groups of like size; or "best": "ward" where that keeps
            more of other runs by more than a standard error, see `kept`, and "average" elsewhere.
        n_labels: clusters that a run can have: new rows may lie in some that none of these rows is in. None:
            as many as these rows show.
        n_rows: size of a subset.
        n_draws: subsets, at least 1; where there are no more rows than a subset has, one will do.
        smallest_share: of a subset, below which a group is no cluster; where that is less, half of an equal
            share.

    Raises:
        ValueError: no run, runs of different lengths, an unknown linkage, or a number of clusters or subsets
            that cannot be.
    """
    if linkage not in (known := get_args(Linkage)):
        raise ValueError(f"linkage: expected one of {', '.join(known)}, got {linkage!r}")
    if n_draws < 1:
        raise ValueError(f"n_draws: expected at least 1, got {n_draws}")
    lengths = sorted({len(run) for run in runs})
    if len(lengths) != 1 or lengths[0] == 0:
        raise ValueError(f"expected one or more runs over the same rows, got rows: {lengths}")
    n = lengths[0]
    if not 1 <= n_clusters <= n:
        raise ValueError(f"n_clusters: expected 1 to the number of rows ({n}), got {n_clusters}")
    smallest_share = min(smallest_share, 0.5 / n_clusters)
    n_labels = n_labels or 1 + max(int(run.max()) for run in runs)
    if linkage == "best":
        how = {"n_labels": n_labels, "n_rows": n_rows, "smallest_share": smallest_share}
        linkage = _best(len(runs), partial(kept, runs, n_clusters, seed, likeness=likeness, **how))
    rng, (kind, few) = np.random.default_rng(seed), _kinds(runs)
    counts, found = np.bincount(kind), []
    for _ in range(n_draws if n > n_rows else 1):
        drawn = kind[np.sort(rng.choice(n, min(n_rows, n), replace=False))]
        table = np.stack([run[drawn] for run in few])
        agreed = _linked(table, n_clusters, likeness, linkage, n_labels, smallest_share)
        found.append((agreed, _labels(agreed, few)))
    n_found = [len(np.unique(labels)) for _, labels in found]
    median = sorted(n_found)[len(found) // 2]
    usual = [one for one, number in zip(found, n_found, strict=True) if number == median]
    alike = stability.pairwise_ari([labels for _, labels in usual], counts)
    agreed, labels = usual[int(alike.sum(axis=1).argmax())]
    # By the size among all rows. A group whose every row fits another better has none left, and no number. Of
    # two that fit a row as well the first has it: a new order can move rows, to larger groups, till it rests.
    left = np.empty(0)
    while not np.array_equal(left, np.arange(agreed.shares.shape[1])):
        sizes = np.bincount(labels, weights=counts, minlength=agreed.shares.shape[1])
        left = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
        number = np.full(len(sizes) + 1, -1)
        number[left] = np.arange(len(left))
        agreed = Agreed(agreed.shares[:, left], number[agreed.owners])
        labels = _labels(agreed, few)
    return Consensus(agreed, labels.astype(np.int16)[kind], _support(agreed, few, labels)[kind], linkage)


def kept(
    runs: Sequence[Int[np.ndarray, " N"]],
    n_clusters: int,
    seed: int,
    *,
    linkage: Linkage,
    likeness: Sequence[Float[np.ndarray, "C C"]] | None = None,
    **how: Any,
) -> Float[np.ndarray, " S"]:
    """Return how much of each run is kept by a consensus that has not seen it, by which "best" goes.

    The adjusted Rand index of the run with what the other half of the runs agrees on, over one subset. With
    its own runs a cut where chance has it looks good too.

    Args:
        runs: two or more; see `agree`, as the others, too.
        n_clusters: of the consensus.
        seed: of the subset.
        linkage: "average" or "ward".
        likeness: of each run.
        how: `n_labels`, `n_rows` and `smallest_share` of `agree`.
    """
    found, halves = np.empty(len(runs)), (slice(0, None, 2), slice(1, None, 2))
    for half, other in (halves, halves[::-1]):
        votes = None if likeness is None else likeness[half]
        labels = agree(runs[half], n_clusters, seed, likeness=votes, linkage=linkage, n_draws=1, **how).labels
        found[other] = [stability.adjusted_rand(stability.overlaps(labels, run)) for run in runs[other]]
    return found


def _best(n_runs: int, kept_by: Callable[..., Float[np.ndarray, " S"]]) -> Linkage:
    """Return "ward" where that keeps more of the runs, by more than a standard error, else "average".

    As if runs were independent; those of a half share a consensus, so there is more chance than that.
    """
    if n_runs == 1:
        return "average"
    more = kept_by(linkage="ward") - kept_by(linkage="average")
    return "ward" if more.mean() > more.std(ddof=1) / np.sqrt(n_runs) else "average"


def _linked(
    runs: Int[np.ndarray, "S n"],
    n_clusters: int,
    likeness: Sequence[Float[np.ndarray, "C C"]] | None,
    linkage: Linkage,
    n_labels: int,
    smallest_share: float,
) -> Agreed:
    """Return what a subset of the rows makes of the runs; see `agree`."""
    distances = _distances(runs, likeness)
    if linkage == "ward":
        # Of two rows of memberships, a 1 for the cluster of each run, the squared distance goes with the
        # number of runs that part them; chances in place of yes or no make it less.
        distances = np.sqrt(distances)
    groups = _cut(distances, linkage, runs.shape[1], n_clusters, smallest_share)
    members = (np.arange(groups.max() + 1)[:, None] == groups).astype(float)  # K x n
    ours = (np.arange(n_labels) == runs[:, :, None]).astype(float)  # S x n x C
    counts = np.einsum("kn,snc->skc", members, ours)
    shares = counts / members.sum(axis=1)[:, None]
    return Agreed(shares, np.where(shares.any(axis=1), shares.argmax(axis=1), -1))


def _distances(
    runs: Int[np.ndarray, "S n"], likeness: Sequence[Float[np.ndarray, "C C"]] | None
) -> Float[np.ndarray, " pairs"]:
    """Return the chance that a run puts two rows apart, mean over the runs; as SciPy asks for it."""
    kind, few = _kinds(list(runs))
    likeness = [np.eye(labels.max() + 1) for labels in runs] if likeness is None else likeness
    between = np.zeros((len(few[0]), len(few[0])))
    for chances, of_kinds in zip(likeness, few, strict=True):
        between += ((1 - chances) / len(runs))[np.ix_(of_kinds, of_kinds)]
    n = len(kind)
    found, begin = np.empty(n * (n - 1) // 2), 0
    for i in range(n - 1):
        end = begin + n - 1 - i
        found[begin:end] = between[kind[i], kind[i + 1 :]]
        begin = end
    return found


def _cut(
    distances: Float[np.ndarray, " pairs"], linkage: Linkage, n: int, n_clusters: int, smallest_share: float
) -> Int[np.ndarray, " n"]:
    """Return the group of each row, from 0 by falling size; -1 in groups too small."""
    if n == 1:
        return np.zeros(1, int)
    tree = hierarchy.linkage(distances, linkage)
    sizes = np.append(np.ones(n), tree[:, 3])
    # Merges are undone one by one, so that groups which no run joins, all of one height, come apart singly.
    large, best = {2 * n - 2}, set[int]()
    for n_groups in range(1, n + 1):
        if n_groups >= n_clusters and len(large) > len(best):
            best = large
        merge = n - 1 - n_groups
        # At height 0 nothing is left to tell apart.
        if merge < 0 or len(best) >= n_clusters or tree[merge, 2] == 0:
            break
        parts = {int(part) for part in tree[merge, :2] if sizes[int(part)] >= smallest_share * n}
        large = large - {n + merge} | parts
    by_size = sorted(best or large, key=lambda node: -sizes[node])[:n_clusters]
    groups = np.full(n, -1)
    for number, node in enumerate(by_size):
        todo = [node]
        while todo:
            one = todo.pop()
            if one < n:
                groups[one] = number
            else:
                todo += [int(tree[one - n, 0]), int(tree[one - n, 1])]
    return groups
