"""How sure the means of clusters are: bootstrap intervals over patients.

Visits of one patient are alike, patients are independent: resampled are patients, each with all visits. The
clusters stay as they are: an interval says nothing of what another seed or other data would make of them
(`stability`).
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

#: Numbers of weights and of their copy for one cluster that are held at once: 100 MB.
BLOCK = 25_000_000


class Sums(NamedTuple):
    """The visits, added up for each patient in each cluster: all that a bootstrap over patients needs.

    Args:
        patients: of each pair of a cluster and a patient, 0 to P-1; pairs of one cluster stand together.
        starts: first pair of each cluster, then the number of pairs.
        above: sum over the pair's visits of each variable, less its mean in the cluster. The mean is taken
            off so that what is added up in float32 is small.
        counts: number of visits with each variable; variables that are never missing share a column.
        column: of `counts`, for each variable.
        means: of each variable in each cluster; NaN where no visit has it.
    """

    patients: Int[np.ndarray, " pairs"]
    starts: Int[np.ndarray, " K+1"]
    above: Float[np.ndarray, "pairs V"]
    counts: Float[np.ndarray, "pairs C"]
    column: Int[np.ndarray, " V"]
    means: Float[np.ndarray, "K V"]


def bootstrap(
    values: Mapping[str, Shaped[np.ndarray, " N"]],
    labels: Int[np.ndarray, " N"],
    patients: Int[np.ndarray, " N"] | None,
    seed: int,
    n_boot: int = 200,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return percentile intervals of the mean of every variable in every cluster and overall.

    Numbers that a profile leaves blank are not blank here: who publishes both blanks both.

    Args:
        values: variables of the visits, numbers or flags; NaN is left out of the mean.
        labels: cluster of each visit.
        patients: patient of each visit; None counts each visit as a patient of its own.
        seed: of the resampling; the same seed gives the same intervals.
        n_boot: how often patients are resampled, as many as there are.
        level: share of the resampled means that the interval holds.

    Returns:
        A row per variable and cluster: variable, cluster (its number, or "overall"), low, high, and n_boot:
        in how many resamples there was a visit to take the mean of.
    """
    names, clusters = np.unique(labels, return_inverse=True)
    if patients is None:
        n_patients, people = len(labels), np.arange(len(labels))
    else:
        everyone, people = np.unique(patients, return_inverse=True)
        n_patients = len(everyone)
    sums = add_up(values, clusters, people, n_patients)
    means = resample(sums, n_patients, seed, n_boot)
    counts = (~np.isnan(means)).sum(axis=0)
    low, high = _quantiles(means, level)
    return pd.DataFrame(
        [
            {
                "variable": variable,
                "cluster": name,
                "low": low[k, v],
                "high": high[k, v],
                "n_boot": counts[k, v],
            }
            for v, variable in enumerate(values)
            for k, name in enumerate([*names.tolist(), "overall"])
        ]
    )


def draw(seed: int, n_patients: int, n_boot: int) -> Iterator[Int[np.ndarray, " P"]]:
    """Yield how often each patient is drawn, for each resample."""
    rng = np.random.default_rng(seed)
    for _ in range(n_boot):
        yield np.bincount(rng.integers(n_patients, size=n_patients, dtype=np.int32), minlength=n_patients)


def add_up(
    values: Mapping[str, Shaped[np.ndarray, " N"]],
    clusters: Int[np.ndarray, " N"],
    patients: Int[np.ndarray, " N"],
    n_patients: int,
) -> Sums:
    """Return the sums of the visits of each patient in each cluster.

    Args:
        values: variables of the visits, NaN where missing.
        clusters: of each visit, 0 to K-1.
        patients: of each visit, 0 to P-1.
        n_patients: P.
    """
    pairs, of_pair = np.unique(clusters.astype(np.int64) * n_patients + patients, return_inverse=True)
    cluster = pairs // n_patients
    size, n_clusters = len(pairs), int(cluster[-1]) + 1
    above = np.empty((size, len(values)), np.float32)
    counts = [np.bincount(of_pair, minlength=size)]
    column = np.zeros(len(values), int)
    means = np.empty((n_clusters, len(values)))
    for v, numbers in enumerate(values.values()):
        numbers = np.asarray(numbers, float)
        known = ~np.isnan(numbers)
        if known.all():
            sums = np.bincount(of_pair, numbers, minlength=size)
        else:
            column[v] = len(counts)
            counts.append(np.bincount(of_pair[known], minlength=size))
            sums = np.bincount(of_pair[known], numbers[known], minlength=size)
        count = counts[column[v]]
        visits = np.bincount(cluster, count, minlength=n_clusters)
        whole = np.bincount(cluster, sums, minlength=n_clusters)
        means[:, v] = np.divide(whole, visits, out=np.full(n_clusters, np.nan), where=visits > 0)
        above[:, v] = sums - count * np.nan_to_num(means[:, v])[cluster]
    starts = np.searchsorted(cluster, np.arange(n_clusters + 1))
    return Sums(pairs % n_patients, starts, above, np.stack(counts, 1, dtype=np.float32), column, means)


def resample(sums: Sums, n_patients: int, seed: int, n_boot: int) -> Float[np.ndarray, "B K+1 V"]:
    """Return the mean of each variable in each cluster, and overall, in each resample; NaN without visits.

    Args:
        sums: as `add_up` returns them.
        n_patients: how many there are to draw from.
        seed: of the draws.
        n_boot: number of resamples.
    """
    n_clusters, n_variables = sums.means.shape
    largest = int(np.diff(sums.starts).max())
    block = max(1, min(n_boot, BLOCK // (n_patients + largest)))
    drawn = draw(seed, n_patients, n_boot)
    means = np.empty((n_boot, n_clusters + 1, n_variables))
    for start in range(0, n_boot, block):
        stop = min(start + block, n_boot)
        weights = np.empty((stop - start, n_patients), np.float32)
        for row in weights:
            row[:] = next(drawn)
        all_sums, all_counts = np.zeros((2, stop - start, n_variables))
        for k in range(n_clusters):
            pairs = slice(sums.starts[k], sums.starts[k + 1])
            own = weights[:, sums.patients[pairs]]
            above = (own @ sums.above[pairs]).astype(float)
            counts = (own @ sums.counts[pairs]).astype(float)[:, sums.column]
            means[start:stop, k] = sums.means[k] + _divide(above, counts)
            all_sums += above + counts * np.nan_to_num(sums.means[k])
            all_counts += counts
        means[start:stop, -1] = _divide(all_sums, all_counts)
    return means


def _divide(sums: Float[np.ndarray, "B V"], counts: Float[np.ndarray, "B V"]) -> Float[np.ndarray, "B V"]:
    """Return sums over counts, NaN where nothing was counted."""
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _quantiles(
    means: Float[np.ndarray, "B K+1 V"], level: float
) -> tuple[Float[np.ndarray, "K+1 V"], Float[np.ndarray, "K+1 V"]]:
    """Return the ends of the interval that leaves out as much below as above; NaN where there is no mean."""
    ends = np.full((2, *means.shape[1:]), np.nan)
    some = ~np.isnan(means).all(axis=0)
    ends[:, some] = np.nanquantile(means[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends[0], ends[1]
