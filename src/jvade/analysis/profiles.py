"""What a cluster's visits look like: means of every variable, in original units (section 3.6, Table 7)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

#: Clusters with fewer patients (or visits, where patients are unknown) are left blank.
MIN_PATIENTS = 8


def sizes(labels: Int[np.ndarray, " N"], patients: Int[np.ndarray, " N"] | None) -> pd.DataFrame:
    """Return visits and patients of each cluster, numbered as the labels; patients NaN if unknown."""
    visits = pd.Series(labels).value_counts().sort_index()
    table = pd.DataFrame({"visits": visits})
    table["patients"] = np.nan if patients is None else pd.Series(patients).groupby(labels).nunique()
    return table.rename_axis("cluster")


def cross_rates(
    labels: Int[np.ndarray, " N"],
    crossed: Bool[np.ndarray, " N"],
    patients: Int[np.ndarray, " N"] | None = None,
    min_patients: int = MIN_PATIENTS,
) -> pd.DataFrame:
    """Return each cluster's share of visits and cross rate, the overall row last.

    Args:
        labels: cluster of each visit.
        crossed: outcome of each visit.
        patients: patient of each visit, if known.
        min_patients: clusters with fewer are blank.

    Returns:
        Index: cluster number, then "overall". Columns: visits, share (percent of visits), cross_rate
        (percent of the cluster's visits), ratio (to the overall rate).
    """
    size = sizes(labels, patients)
    rate = pd.Series(crossed, dtype=float).groupby(labels).mean() * 100
    overall = float(np.mean(crossed) * 100)
    table = pd.DataFrame({"visits": size["visits"], "share": size["visits"] / len(labels) * 100})
    table["cross_rate"] = rate
    table.index = table.index.astype(object)
    table = table.astype(float)
    table[(size["patients"].fillna(size["visits"]) < min_patients).to_numpy()] = np.nan
    table.loc["overall"] = [len(labels), 100.0, overall]
    table["ratio"] = table["cross_rate"] / overall if overall > 0 else np.nan
    return table.rename_axis("cluster")


def profile(
    frame: pd.DataFrame,
    variables: Sequence[tuple[str, str, str, float]],
    labels: Int[np.ndarray, " N"],
    patients: Int[np.ndarray, " N"] | None = None,
    min_patients: int = MIN_PATIENTS,
) -> pd.DataFrame:
    """Return the mean of every variable in every cluster and overall.

    Args:
        frame: visits in original units; missing numbers are left out of their mean.
        variables: (group, name, unit, factor) of each row of the table; 0/1 columns take factor 100 and
            unit "percent".
        labels: cluster of each visit.
        patients: patient of each visit, if known.
        min_patients: clusters with fewer are blank.

    Returns:
        One row per variable: group, variable, unit, one column per cluster ("cluster1"..), overall, and
        cv: the standard deviation over the mean of the clusters (ddof 0), how much the variable tells
        clusters apart.
    """
    names = [name for _, name, _, _ in variables]
    factors = np.array([factor for _, _, _, factor in variables])
    values = frame[names].astype(float)
    means = values.groupby(labels).mean()
    size = sizes(labels, patients)
    means[(size["patients"].fillna(size["visits"]) < min_patients).to_numpy()] = np.nan
    table = pd.DataFrame(
        [(group, name, unit) for group, name, unit, _ in variables], columns=["group", "variable", "unit"]
    )
    by_cluster = means.T.to_numpy() * factors[:, None]
    for i, cluster in enumerate(means.index):
        table[f"cluster{cluster}"] = by_cluster[:, i]
    table["overall"] = values.mean().to_numpy() * factors
    known = ~np.isnan(by_cluster)
    count = np.maximum(known.sum(axis=1), 1)
    center = np.where(known, by_cluster, 0).sum(axis=1) / count
    spread = np.sqrt(np.where(known, (by_cluster - center[:, None]) ** 2, 0).sum(axis=1) / count)
    table["cv"] = np.divide(spread, center, out=np.full(len(table), np.nan), where=center != 0)
    return table
