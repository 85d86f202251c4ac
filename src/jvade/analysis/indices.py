"""The three indices of section 2.2, on seeded subsets of the rows."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn import config_context
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score
from threadpoolctl import threadpool_limits

THREADS = min(4, os.cpu_count() or 1)
#: Rows of distances measured at once, few enough to stay in the caches until their root is taken.
BLOCK_ROWS = 128


class Indices(NamedTuple):
    """How compact and apart clusters lie in one space; NaN where fewer than two have rows.

    Scores in different spaces are not comparable.

    Args:
        silhouette: -1..1, higher is better.
        davies_bouldin: 0 or more, lower is better.
        calinski_harabasz: 0 or more, higher is better, grows with the number of rows.
    """

    silhouette: float
    davies_bouldin: float
    calinski_harabasz: float


def draw_subset(n_rows: int, size: int, seed: int) -> Int[np.ndarray, " n"]:
    """Return `size` distinct row numbers (all, if there are fewer), ascending."""
    if size >= n_rows:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(seed).choice(n_rows, size, replace=False))


def draw_subsets(n_rows: int, size: int, count: int, seed: int) -> list[Int[np.ndarray, " n"]]:
    """Return several subsets; the first is that of `draw_subset`, and any seed's are its own.

    Where a subset would be all rows there is one: its indices have no sampling error.
    """
    if size >= n_rows:
        return [np.arange(n_rows)]
    seeds = [seed, *np.random.SeedSequence(seed).generate_state(count - 1, np.uint64).tolist()]
    return [draw_subset(n_rows, size, one) for one in seeds]


def measure_distances(
    points: Float[np.ndarray, "N L"], distances: Float[np.ndarray, "N N"] | None = None
) -> Float[np.ndarray, "N N"]:
    """Return the Euclidean distance of every pair of points, in float64.

    |a - b|^2 = |a|^2 - 2 a b + |b|^2 as one matrix product: the more columns, the faster it is than the
    `cdist` of SciPy, from ten on (benchmarks/distances.py). The distance of coinciding points may come out
    near 1e-8 of their spread.

    Args:
        points: finite; their mean is taken off first.
        distances: memory for the result.
    """
    points = points - points.mean(axis=0, dtype=np.float64)
    n = len(points)
    squares, ones = np.sum(points**2, axis=1, keepdims=True), np.ones((n, 1))
    left = np.hstack([points, squares, ones])
    right = np.ascontiguousarray(np.hstack([-2 * points, ones, squares]).T)
    distances = np.empty((n, n)) if distances is None else distances

    def measure(first: int) -> None:
        block = distances[first : first + BLOCK_ROWS]
        np.matmul(left[first : first + BLOCK_ROWS], right, out=block)
        np.sqrt(np.maximum(block, 0.0, out=block), out=block)

    # One thread of BLAS for each of ours: its own would share out products that are too small for it.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(measure, range(0, n, BLOCK_ROWS)))
    np.fill_diagonal(distances, 0.0)
    return distances


class Scorer:
    """Scores labellings of points: distances are measured once per space, in memory that is used again.

    Getting 800 MB for the distances of 10,000 points from the system takes longer than measuring them.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0)

    def score(
        self, points: Float[np.ndarray, "N L"], labellings: Sequence[Int[np.ndarray, " N"]]
    ) -> list[Indices]:
        """Return the indices of each labelling of the same points, all of which are used.

        Time and memory of the silhouette grow with N^2.
        """
        points, n = points.astype(np.float64), len(points)
        sizes = [len(np.unique(labels)) for labels in labellings]
        distances = np.empty((0, 0))
        if any(2 <= size < n for size in sizes):
            if self._memory.size < n * n:
                self._memory = np.empty(n * n)
            distances = measure_distances(points, self._memory[: n * n].reshape(n, n))
        # To look through 800 MB for what is not finite takes a third of a silhouette; points are checked.
        with config_context(assume_finite=bool(np.isfinite(points).all())):
            return [
                Indices(
                    float(silhouette_score(distances, labels, metric="precomputed")),
                    float(davies_bouldin_score(points, labels)),
                    float(calinski_harabasz_score(points, labels)),
                )
                if 2 <= size < n
                else Indices(np.nan, np.nan, np.nan)
                for labels, size in zip(labellings, sizes, strict=True)
            ]


def score(points: Float[np.ndarray, "N L"], labels: Int[np.ndarray, " N"]) -> Indices:
    """Return the indices of one labelling of points, see `Scorer`."""
    return Scorer().score(points, [labels])[0]
