"""The three indices of section 2.2, on a seeded subset of the rows."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score


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


def score(points: Float[np.ndarray, "N L"], labels: Int[np.ndarray, " N"]) -> Indices:
    """Return the indices of a labelling of points, all of which are used; the silhouette costs N^2."""
    n_labels = len(np.unique(labels))
    if not 2 <= n_labels < len(labels):
        return Indices(np.nan, np.nan, np.nan)
    points = points.astype(np.float64)
    return Indices(
        float(silhouette_score(points, labels)),
        float(davies_bouldin_score(points, labels)),
        float(calinski_harabasz_score(points, labels)),
    )
