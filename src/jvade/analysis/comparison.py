"""Methods side by side on the same rows: indices, and where crossing concentrates (section 3.3, Table 5)."""

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

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


def agreement(labels: Int[np.ndarray, " N"], types: Int[np.ndarray, " N"]) -> tuple[float, float]:
    """Return the adjusted Rand index and the normalised mutual information of two labellings."""
    return float(adjusted_rand_score(types, labels)), float(normalized_mutual_info_score(types, labels))


def compare(
    methods: Mapping[str, Clustering],
    common: Float[np.ndarray, "N D"],
    subsets: Sequence[Int[np.ndarray, " n"]],
    scorer: indices.Scorer | None = None,
) -> pd.DataFrame:
    """Return the indices of each method in its own space and in a common one, on the same rows.

    Args:
        methods: clusterings of the same rows by name.
        common: one space for all, such as the standardised inputs.
        subsets: rows the indices are taken on; the spread over several is their sampling error.
        scorer: one whose memory is used again.

    Returns:
        One row per method: method, n_clusters (those that have rows), each index as its mean over the
        subsets and, with the suffix `_sd`, its standard deviation over them (ddof 1, NaN for one subset),
        and the same again with the suffix `_common`, `_common_sd`.
    """
    scorer, names = scorer or indices.Scorer(), list(methods)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for rows in subsets:
        own: dict[str, dict[str, float]] = {}
        # Methods that share a space share its distances.
        for space in {id(method.points): method.points for method in methods.values()}.values():
            here = [name for name in names if methods[name].points is space]
            scores = scorer.score(space[rows], [methods[name].labels[rows] for name in here])
            own |= {name: score._asdict() for name, score in zip(here, scores, strict=True)}
        shared = scorer.score(common[rows], [methods[name].labels[rows] for name in names])
        for name, score in zip(names, shared, strict=True):
            found[name].append(own[name] | {f"{key}_common": v for key, v in score._asdict().items()})
    lines = []
    for name, scores in found.items():
        table = pd.DataFrame(scores)
        means, spreads = table.mean(skipna=False), table.std(ddof=1, skipna=False)
        each = {
            key: value
            for index in table
            for key, value in ((index, means[index]), (f"{index}_sd", spreads[index]))
        }
        lines.append({"method": name, "n_clusters": len(np.unique(methods[name].labels))} | each)
    return pd.DataFrame(lines)
