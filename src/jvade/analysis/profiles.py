"""What a cluster's visits look like: means of every variable, in original units (section 3.6, Table 7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

#: A number with fewer patients behind it (visits, where patients are unknown) is left blank.
MIN_PATIENTS = 8


def patients_in(
    cells: Int[np.ndarray, " N"], patients: Int[np.ndarray, " N"], n_cells: int
) -> Int[np.ndarray, " C"]:
    """Return how many different patients the visits of each cell are of."""
    people = int(patients.max(initial=0)) + 1
    pairs = np.unique(cells.astype(np.int64) * people + patients)
    return np.bincount(pairs // people, minlength=n_cells)


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


@dataclass(frozen=True)
class Groups:
    """Clusters that have visits, ascending, and who is behind each number of theirs.

    A number is blank where fewer than `min_patients` patients stand behind it. Where that leaves one cluster
    blank beside an overall number, or several with fewer than `min_patients` together, the clusters with the
    next fewest patients are blanked too: the difference would give the first away.
    """

    names: Int[np.ndarray, " K"]
    inverse: Int[np.ndarray, " N"]
    visits: Int[np.ndarray, " K"]
    patients: Int[np.ndarray, " N"]
    min_patients: int

    def means(self, values: Float[np.ndarray, " N"]) -> tuple[Float[np.ndarray, " K"], float]:
        """Return the mean of each cluster and of all visits, over what is not NaN; NaN where blank."""
        known = ~np.isnan(values)
        groups, size = self.inverse[known], len(self.names)
        visits = np.bincount(groups, minlength=size)
        sums = np.bincount(groups, weights=values[known], minlength=size)
        means = np.divide(sums, visits, out=np.full(size, np.nan), where=visits > 0)
        blank, all_blank = self.blank(known)
        overall = np.nan if all_blank else float(sums.sum() / visits.sum())
        return np.where(blank, np.nan, means), overall

    def blank(self, known: Bool[np.ndarray, " N"]) -> tuple[Bool[np.ndarray, " K"], bool]:
        """Return which clusters, and whether the overall number, too few patients stand behind."""
        pairs = self.pairs if known.all() else np.unique(self._pair(known))
        counts = np.bincount(pairs // (self.patients.max() + 1), minlength=len(self.names))
        small = counts < self.min_patients
        hidden = small & (counts > 0)
        while (
            hidden.any()
            and not small.all()
            and (hidden.sum() == 1 or self._people(pairs, hidden) < self.min_patients)
        ):
            following = np.argmin(np.where(small, np.iinfo(int).max, counts))
            small[following] = hidden[following] = True
        everyone = np.unique(pairs % (self.patients.max() + 1))
        return small, len(everyone) < self.min_patients

    @cached_property
    def pairs(self) -> Int[np.ndarray, " pairs"]:
        """Each cluster together with each patient it has, as one number."""
        return np.unique(self._pair(np.ones(len(self.inverse), bool)))

    def _people(self, pairs: Int[np.ndarray, " pairs"], clusters: Bool[np.ndarray, " K"]) -> int:
        """Return how many different patients some clusters have together."""
        base = self.patients.max() + 1
        return len(np.unique(pairs[clusters[pairs // base]] % base))

    def _pair(self, known: Bool[np.ndarray, " N"]) -> Int[np.ndarray, " n"]:
        return self.inverse[known] * (self.patients.max() + 1) + self.patients[known]


def group(labels: Int[np.ndarray, " N"], patients: Int[np.ndarray, " N"] | None, min_patients: int) -> Groups:
    """Return the clusters of a labelling; where patients are unknown, each visit counts as one."""
    names, inverse, visits = np.unique(labels, return_inverse=True, return_counts=True)
    patients = np.arange(len(labels)) if patients is None else patients.astype(np.int64)
    return Groups(names, inverse, visits, patients, min_patients)


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
        min_patients: numbers with fewer behind them are blank, see `Groups`.

    Returns:
        Index: cluster number, then "overall". Columns: visits, share (percent of visits), cross_rate
        (percent of the cluster's visits), ratio (to the overall rate).
    """
    groups = group(labels, patients, min_patients)
    blank, all_blank = groups.blank(np.ones(len(labels), bool))
    visits = np.append(groups.visits, len(labels)).astype(float)
    visits[np.append(blank, all_blank)] = np.nan
    rates = 100 * np.append(*groups.means(crossed.astype(float)))
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
        min_patients: numbers with fewer behind them are blank, see `Groups`.

    Returns:
        A row per variable: group, variable, unit, a column per cluster ("cluster1"..), overall, and cv:
        standard deviation over mean of the clusters (ddof 0), how much the variable tells them apart.
    """
    groups = group(labels, patients, min_patients)
    columns = [f"cluster{name}" for name in groups.names]
    lines = []
    for row in rows:
        values = frame[row.variable].to_numpy(float)
        means, overall = groups.means(values)
        means = row.factor * means
        known = means[~np.isnan(means)]
        center = known.mean() if len(known) else 0.0
        lines.append(
            {"group": row.group, "variable": row.variable, "unit": row.unit}
            | dict(zip(columns, means, strict=True))
            | {"overall": row.factor * overall}
            | {"cv": known.std() / center if center else np.nan}
        )
    return pd.DataFrame(lines)


class Sizes(NamedTuple):
    """How many patients clusters have.

    Args:
        table: a row per cluster, then "overall": cluster, visits, share (percent of visits), patients,
            patients_elsewhere (percent of its patients who have visits in other clusters too); blank where
            fewer than `min_patients` stand behind it, patients where they are unknown.
        patients: all of them; None where they are unknown.
        in_several: percent of them with visits in more than one cluster; None where they are unknown.
    """

    table: pd.DataFrame
    patients: int | None
    in_several: float | None


def sizes(
    labels: Int[np.ndarray, " N"], patients: Int[np.ndarray, " N"] | None, min_patients: int = MIN_PATIENTS
) -> Sizes:
    """Return visits and patients of each cluster, and how many patients span clusters (section 3.6).

    Args:
        labels: cluster of each visit.
        patients: patient of each visit, if known.
        min_patients: numbers with fewer behind them are blank, see `Groups`.
    """
    groups = group(labels, patients, min_patients)
    visits = np.append(groups.visits, len(labels)).astype(float)
    table = pd.DataFrame(
        {
            "cluster": [*map(str, groups.names), "overall"],
            "visits": visits,
            "share": 100 * visits / len(labels),
            "patients": np.nan,
            "patients_elsewhere": np.nan,
        }
    )
    blank, all_blank = groups.blank(np.ones(len(labels), bool))
    everyone = in_several = None
    if patients is not None:
        base = groups.patients.max() + 1
        cluster, patient = groups.pairs // base, groups.pairs % base
        spans = np.bincount(patient) > 1  # of each patient: in more than one cluster
        counts = np.bincount(cluster, minlength=len(groups.names))
        elsewhere = np.bincount(cluster, weights=spans[patient], minlength=len(groups.names))
        everyone = len(np.unique(patient))
        in_several = 100 * float(spans.sum()) / everyone
        table["patients"] = np.append(counts, everyone).astype(float)
        # Few patients who stay, or few who do not, would be told apart by the share.
        few = (np.minimum(elsewhere, counts - elsewhere) < min_patients) & (counts > 0)
        shares = np.where(few, np.nan, 100 * elsewhere / np.maximum(counts, 1))
        stay = min(spans.sum(), everyone - spans.sum())
        in_several = None if stay < min_patients else in_several
        table["patients_elsewhere"] = np.append(shares, np.nan if in_several is None else in_several)
    table.loc[np.append(blank, all_blank), ["visits", "share", "patients", "patients_elsewhere"]] = np.nan
    return Sizes(table, everyone, in_several)
