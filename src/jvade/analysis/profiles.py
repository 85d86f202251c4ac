"""What a cluster's visits look like: means of every variable, in original units (section 3.6, Table 7)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

#: Clusters with fewer patients (or visits, where patients are unknown) are left blank.
MIN_PATIENTS = 8


class Row(NamedTuple):
    """One row of a profile: a column of the visits, and how to print its mean.

    Args:
        group: heading it stands under.
        variable: column of the visits.
        unit: of the printed mean.
        factor: of the mean; 100 turns a 0/1 column into percent.
    """

    group: str
    variable: str
    unit: str
    factor: float = 1.0


class Groups(NamedTuple):
    """Clusters that have visits, ascending, and what is known of each."""

    names: Int[np.ndarray, " K"]
    inverse: Int[np.ndarray, " N"]
    visits: Int[np.ndarray, " K"]
    small: Bool[np.ndarray, " K"]

    def means(self, values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " K"]:
        """Return the mean of each cluster over what is not NaN; NaN for small clusters."""
        known = ~np.isnan(values)
        counts = np.bincount(self.inverse[known], minlength=len(self.names))
        sums = np.bincount(self.inverse[known], weights=values[known], minlength=len(self.names))
        means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return np.where(self.small, np.nan, means)


def group(labels: Int[np.ndarray, " N"], patients: Int[np.ndarray, " N"] | None, min_patients: int) -> Groups:
    """Return the clusters of a labelling, those of fewer than `min_patients` patients marked small."""
    names, inverse, visits = np.unique(labels, return_inverse=True, return_counts=True)
    if patients is None:
        return Groups(names, inverse, visits, visits < min_patients)
    pairs = np.unique(np.stack([inverse, patients]), axis=1)
    return Groups(names, inverse, visits, np.bincount(pairs[0], minlength=len(names)) < min_patients)


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
    groups = group(labels, patients, min_patients)
    visits = np.append(np.where(groups.small, np.nan, groups.visits), len(labels))
    rates = 100 * np.append(groups.means(crossed.astype(float)), crossed.mean())
    return pd.DataFrame(
        {
            "visits": visits,
            "share": 100 * visits / len(labels),
            "cross_rate": rates,
            "ratio": rates / rates[-1] if rates[-1] > 0 else np.nan,
        },
        index=pd.Index([*groups.names.tolist(), "overall"], dtype=object, name="cluster"),
    )


def profile(
    frame: pd.DataFrame,
    rows: Sequence[Row],
    labels: Int[np.ndarray, " N"],
    patients: Int[np.ndarray, " N"] | None = None,
    min_patients: int = MIN_PATIENTS,
) -> pd.DataFrame:
    """Return the mean of every variable in every cluster and overall.

    Args:
        frame: visits in original units; missing numbers are left out of their mean.
        rows: what the table shows, in order.
        labels: cluster of each visit.
        patients: patient of each visit, if known.
        min_patients: clusters with fewer are blank.

    Returns:
        A row per variable: group, variable, unit, a column per cluster ("cluster1"..), overall, and cv:
        standard deviation over mean of the clusters (ddof 0), how much the variable tells them apart.
    """
    groups = group(labels, patients, min_patients)
    columns = [f"cluster{name}" for name in groups.names]
    lines = []
    for row in rows:
        values = frame[row.variable].to_numpy(float)
        means = row.factor * groups.means(values)
        known, missing = means[~np.isnan(means)], np.isnan(values).all()
        center = known.mean() if len(known) else 0.0
        lines.append(
            {"group": row.group, "variable": row.variable, "unit": row.unit}
            | dict(zip(columns, means, strict=True))
            | {"overall": np.nan if missing else row.factor * np.nanmean(values)}
            | {"cv": known.std() / center if center else np.nan}
        )
    return pd.DataFrame(lines)
