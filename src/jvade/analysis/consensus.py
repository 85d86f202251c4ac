"""One clustering from many runs: what they agree on, row by row.

Evidence accumulation (Fred & Jain 2005): the co-association of two rows is the share of the runs that put
them in one cluster. Average linkage over it keeps the borders that most runs draw and drops those that only
some do. The runs may have more clusters than the answer, and better do: a run that must name seven types
splits where chance has it, one that may name fifteen splits those places too, and the linkage joins again
what the others keep together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

#: Rows scored at once: bounds the memory of what lies between.
CHUNK_ROWS = 262_144


class Consensus(NamedTuple):
    """What many runs agree on.

    Args:
        votes: for each run, cluster of the consensus and cluster of the run: the share of the members of the
            former that the run puts in the latter. All it takes to place new rows, see `assign`.
        labels: cluster of each row, 0 to K-1 by falling size.
        support: of each row, the share of the runs, averaged over the members of its cluster, that put the
            row with the member: 1 where every run agrees.
    """

    votes: Float[np.ndarray, "S K C"]
    labels: Int[np.ndarray, " N"]
    support: Float[np.ndarray, " N"]


def assign(
    votes: Float[np.ndarray, "S K C"], runs: Sequence[Int[np.ndarray, " N"]]
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return for each row the cluster with whose members the runs put it most often, and how often.

    Args:
        votes: of a consensus.
        runs: cluster of each row in each of its runs; the rows may be new.
    """
    n_runs, n_clusters, _ = votes.shape
    labels, support = np.empty(len(runs[0]), np.int64), np.empty(len(runs[0]))
    for begin in range(0, len(labels), CHUNK_ROWS):
        rows = slice(begin, begin + CHUNK_ROWS)
        scores = np.zeros((len(labels[rows]), n_clusters))
        for vote, run in zip(votes, runs, strict=True):
            scores += vote.T[run[rows]]
        labels[rows] = scores.argmax(axis=1)
        support[rows] = scores.max(axis=1) / n_runs
    return labels, support


def agree(
    runs: Sequence[Int[np.ndarray, " N"]],
    n_clusters: int,
    seed: int,
    *,
    n_rows: int = 5_000,
    smallest_share: float = 0.004,
) -> Consensus:
    """Return the clustering that the runs agree on.

    Average linkage needs the distances of all pairs, so it is taken over a random subset of the rows; from
    there every row is placed by `assign`. The tree is cut until as many groups as asked for are no smaller
    than `smallest_share`; the smaller ones, rows that hardly any run agrees on, go where they fit best.

    Args:
        runs: cluster of each row in each run, numbered from 0.
        n_clusters: clusters of the consensus; fewer where the runs do not tell as many groups apart.
        seed: of the subset.
        n_rows: its size.
        smallest_share: of the subset, below which a group is no cluster, in [0, 1).

    Raises:
        ValueError: no run, runs of different lengths, or a number of clusters that cannot be.
    """
    lengths = sorted({len(run) for run in runs})
    if len(lengths) != 1 or lengths[0] == 0:
        raise ValueError(f"expected one or more runs over the same rows, got rows: {lengths}")
    if not 1 <= n_clusters <= lengths[0]:
        raise ValueError(f"n_clusters: expected 1 to the number of rows ({lengths[0]}), got {n_clusters}")
    table = np.stack(runs)
    n = table.shape[1]
    few = np.sort(np.random.default_rng(seed).choice(n, min(n_rows, n), replace=False))
    groups = _cut(table[:, few], n_clusters, smallest_share)
    members = np.arange(groups.max() + 1)[:, None] == groups  # K x n
    ours = np.arange(table.max() + 1) == table[:, few][:, :, None]  # S x n x C
    votes = np.einsum("kn,snc->skc", members / members.sum(axis=1, keepdims=True), ours.astype(float))
    labels, _ = assign(votes, runs)
    # A group whose every row fits another better has no rows left; the others are numbered by their size.
    sizes = np.bincount(labels, minlength=len(members))
    order = np.argsort(-sizes, kind="stable")
    votes = votes[:, order[sizes[order] > 0]]
    return Consensus(votes, *assign(votes, runs))


def _cut(runs: Int[np.ndarray, "S n"], n_clusters: int, smallest_share: float) -> Int[np.ndarray, " n"]:
    """Return the group of each row by average linkage, -1 in groups that are too small."""
    n = runs.shape[1]
    if n == 1:
        return np.zeros(1, int)
    tree = linkage(pdist(runs.T, "hamming"), "average")
    # A height is the share of the runs that separate two groups: at 0 nothing is left to tell apart.
    most = 1 + int(np.sum(tree[:, 2] > 0))
    best: tuple[int, np.ndarray] = (0, np.zeros(n, int))
    for n_groups in range(n_clusters, max(most, n_clusters) + 1):
        groups = fcluster(tree, n_groups, "maxclust") - 1
        sizes = np.bincount(groups)
        large = np.flatnonzero(sizes >= max(1.0, smallest_share * n))
        # Two may pass the limit at one cut: the largest stay.
        large = large[np.argsort(-sizes[large], kind="stable")][:n_clusters]
        if len(large) > best[0]:
            number = np.full(len(sizes), -1)
            number[large] = np.arange(len(large))
            best = len(large), number[groups]
        if len(large) == n_clusters:
            break
    return best[1]
