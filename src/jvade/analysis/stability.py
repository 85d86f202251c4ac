"""How much of a clustering another seed would change (section 3.5, Table 6, and visit by visit).

Indices that hardly vary do not mean that runs agree: as compact a clustering can put other visits together.
So runs are also compared by which visits share a cluster and, once their clusters carry the same numbers, by
what those look like.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment


class Changes(NamedTuple):
    """What share of the visits move between runs whose clusters carry the same numbers; percent.

    Args:
        changed: visits that are not in the same cluster in all runs.
        differ: for each run, visits in another cluster than in the reference, which itself has 0.
        kept: for each cluster of the reference that has visits, those of them that are in it in all runs.
    """

    changed: float
    differ: Float[np.ndarray, " R"]
    kept: pd.Series


def summarise(indices: pd.DataFrame) -> pd.DataFrame:
    """Return the indices of each run, then their mean, standard deviation and CV (Table 6).

    Args:
        indices: a row per run: seed, then indices; NaN (a run of one cluster) is left out of the three.

    Returns:
        The same columns, the seed as text, and n_runs: in the rows "mean", "sd" (ddof 0) and "cv" (sd over
        the size of the mean, blank where that is 0) how many runs have every index; in a run's row 1 if it
        has. `indices.score` gives all of its indices or none.
    """
    values = indices.drop(columns="seed").astype(float)
    mean, sd = values.mean(), values.std(ddof=0)
    rows = pd.DataFrame({"mean": mean, "sd": sd, "cv": sd / mean.abs().where(mean != 0)}).T
    table = pd.concat([values, rows], ignore_index=True)
    known = values.notna().all(axis=1).astype(int)
    table.insert(0, "seed", [*indices["seed"].astype(str), *rows.index])
    table["n_runs"] = [*known, *[known.sum()] * len(rows)]
    return table


def distances(indices: pd.DataFrame, published: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Return how far the runs are from published numbers, beside how far they are from one another.

    Args:
        indices: a row per run; NaN is left out.
        published: numbers by index, by where they stand.

    Returns:
        A row for each number: where it stands (`table`), `index`, `published`, `ours` (mean over the runs),
        `sd` (over the runs, ddof 1; NaN of one), and `distance`, ours less the published.
    """
    lines = [
        {
            "table": table,
            "index": name,
            "published": float(value),
            "ours": indices[name].mean(),
            "sd": indices[name].std(ddof=1),
            "distance": indices[name].mean() - float(value),
        }
        for table, numbers in published.items()
        for name, value in numbers.items()
    ]
    return pd.DataFrame(lines)


def pairwise_ari(
    runs: Sequence[Int[np.ndarray, " N"]], counts: Int[np.ndarray, " N"] | None = None
) -> Float[np.ndarray, "R R"]:
    """Return the adjusted Rand index of each pair of runs: 1 the same clusters, 0 as alike as by chance.

    Args:
        runs: cluster of each visit in each run.
        counts: how many visits each stands for; None: one.
    """
    ari = np.eye(len(runs))
    for i, j in combinations(range(len(runs)), 2):
        ari[i, j] = ari[j, i] = adjusted_rand(overlaps(runs[i], runs[j], counts=counts))
    return ari


def agreements(runs: Sequence[Int[np.ndarray, " N"]]) -> Float[np.ndarray, " pairs"]:
    """Return the adjusted Rand index of every two runs, each pair once."""
    return pairwise_ari(runs)[np.triu_indices(len(runs), 1)]


def overlaps(
    one: Int[np.ndarray, " N"],
    two: Int[np.ndarray, " N"],
    size: int | None = None,
    counts: Int[np.ndarray, " N"] | None = None,
) -> Int[np.ndarray, "K1 K2"]:
    """Return how many visits each cluster of one run shares with each of another, by numbers from 0.

    Args:
        one: cluster of each visit in one run, the rows.
        two: in the other, the columns.
        size: clusters of either; None takes the highest number of each.
        counts: how many visits each stands for; None: one.
    """
    rows, columns = (size, size) if size else (int(one.max()) + 1, int(two.max()) + 1)
    cells = one.astype(np.int64) * columns + two
    found = np.bincount(cells, counts, minlength=rows * columns)  # sums of counts are exact below 2^53
    return found.astype(np.int64).reshape(rows, columns)


def adjusted_rand(shared: Int[np.ndarray, "K1 K2"]) -> float:
    """Return the adjusted Rand index of the visits that clusters share, 1 where nothing could differ."""
    # Products of numbers of pairs pass 64 bits from 100,000 visits on: Python's integers have no end.
    both = int((shared**2).sum())
    one, two = (int((shared.sum(axis=axis) ** 2).sum()) for axis in (1, 0))
    n = int(shared.sum())
    together, first_only, second_only = both - n, one - both, two - both
    apart = n**2 - one - two + both
    if first_only == second_only == 0:
        return 1.0
    above_chance = 2 * (together * apart - first_only * second_only)
    most = (together + first_only) * (first_only + apart) + (together + second_only) * (second_only + apart)
    return above_chance / most


def align(
    reference: Int[np.ndarray, " N"], labels: Int[np.ndarray, " N"], n_clusters: int
) -> Int[np.ndarray, " K"]:
    """Return the number that each cluster has in the reference, so that most visits keep theirs.

    Args:
        reference: cluster of each visit, 0 to K-1.
        labels: the same in another run, whose numbers mean nothing.
        n_clusters: K; some may have no visits in either.

    Returns:
        A permutation of 0 to K-1: the reference's number of cluster 0, 1, ... of `labels`.

    Raises:
        ValueError: a number is not from 0 to K-1.
    """
    for run in (reference, labels):
        if run.min() < 0 or run.max() >= n_clusters:
            raise ValueError(f"clusters are numbered 0 to {n_clusters - 1}, got {run.min()} to {run.max()}")
    return linear_sum_assignment(overlaps(labels, reference, n_clusters), maximize=True)[1]


def aligned(
    runs: Sequence[Int[np.ndarray, " N"]], n_clusters: int, reference: int = 0
) -> list[Int[np.ndarray, " N"]]:
    """Return the runs with their clusters renamed to the numbers of one of them.

    Args:
        runs: cluster of each visit in each run; all are numbered from 0 (if any has a 0) or all from 1.
        n_clusters: how many numbers there are, those without visits included.
        reference: position of the run whose numbers the others take.

    Raises:
        ValueError: there are other numbers.
    """
    first = 0 if any(run.min() == 0 for run in runs) else 1
    fixed = runs[reference] - first
    return [align(fixed, run - first, n_clusters)[run - first] + first for run in runs]


def changes(aligned_runs: Sequence[Int[np.ndarray, " N"]], reference: int = 0) -> Changes:
    """Return what share of the visits move between runs.

    Args:
        aligned_runs: as `aligned` returns them.
        reference: position of the run that the others are compared with.
    """
    fixed = aligned_runs[reference]
    same: Bool[np.ndarray, " N"] = np.ones(len(fixed), bool)
    differ = np.zeros(len(aligned_runs))
    for i, run in enumerate(aligned_runs):
        equal = run == fixed
        same &= equal
        differ[i] = 100 * np.mean(~equal)
    visits = np.bincount(fixed)
    names = np.flatnonzero(visits)
    kept = 100 * np.bincount(fixed[same], minlength=len(visits))[names] / visits[names]
    index = pd.Index(names, name="cluster")
    return Changes(100 * float(np.mean(~same)), differ, pd.Series(kept, index, name="kept"))


def spread(profiles: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return how far the profiles of the same clusters lie apart over runs.

    Args:
        profiles: of each run, as `profiles.profile` returns it from aligned labels; a run may lack a cluster.

    Returns:
        A row per variable and cluster: group, variable, unit, cluster, mean and sd (ddof 0) of the means of
        the runs, and runs: how many of them have a number.
    """
    keys = ["group", "variable", "unit"]
    longs = []
    for table in profiles:
        columns = [name for name in table.columns if name.startswith("cluster")]
        longs.append(table.melt(keys, columns, "cluster", "value"))
    long = pd.concat(longs, ignore_index=True)
    long["cluster"] = long["cluster"].str.removeprefix("cluster").astype(int)
    long["order"] = pd.factorize(long["variable"])[0]  # as the profiles have them
    cells = long.groupby(["order", *keys, "cluster"])["value"]
    table = pd.DataFrame({"mean": cells.mean(), "sd": cells.std(ddof=0), "runs": cells.count()})
    return table.reset_index().drop(columns="order")
