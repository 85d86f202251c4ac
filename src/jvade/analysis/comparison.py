"""Methods side by side on the same rows: indices, and where crossing concentrates (section 3.3, Table 5)."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from jvade.analysis import indices


class Clustering(NamedTuple):
    """One method's answer: the space it clustered in and its labels, 1..K by falling cross rate."""

    points: Float[np.ndarray, "N L"]
    labels: Int[np.ndarray, " N"]


def kmeans(points: Float[np.ndarray, "N L"], n_clusters: int, seed: int) -> Int[np.ndarray, " N"]:
    """Return scikit-learn's K-means labels, 0..K-1, the best of three starts."""
    model = KMeans(n_clusters, n_init=3, random_state=seed)  # pyright: ignore[reportArgumentType]
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: the table shows how many clusters have rows.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit_predict(points)


def number_by_cross_rate(
    labels: Int[np.ndarray, " N"], crossed: Bool[np.ndarray, " N"]
) -> Int[np.ndarray, " N"]:
    """Renumber clusters 1..K by falling cross rate, as Table 7 does; empty ones get no number.

    Clusters of equal rate are numbered by falling size.
    """
    names, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rates = np.bincount(inverse, weights=crossed) / sizes
    number = np.empty(len(names), int)
    number[np.lexsort((-sizes, -rates))] = np.arange(1, len(names) + 1)
    return number[inverse]


def compare(
    methods: Mapping[str, Clustering],
    common: Float[np.ndarray, "N D"],
    subset: Int[np.ndarray, " n"],
) -> pd.DataFrame:
    """Return the indices of each method in its own space and in a common one, on the same rows.

    Args:
        methods: clusterings of the same rows by name.
        common: one space for all, such as the standardised inputs.
        subset: rows the indices are taken on.

    Returns:
        One row per method: method, n_clusters (those that have rows), the three indices, and the three
        again with the suffix `_common`.
    """
    rows = []
    for name, (points, labels) in methods.items():
        own = indices.score(points[subset], labels[subset])
        shared = indices.score(common[subset], labels[subset])
        rows.append(
            {"method": name, "n_clusters": len(np.unique(labels))}
            | own._asdict()
            | {f"{key}_common": value for key, value in shared._asdict().items()}
        )
    return pd.DataFrame(rows)
