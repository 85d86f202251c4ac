"""Clusters against something else: where patients live (section 4.1.2), and the published clusters."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.stats.contingency import association

from jvade.analysis.profiles import MIN_PATIENTS, patients_in

#: Row of Table 7 that says how large a published cluster is, not what its visits are like.
SHARE = "share_of_visits"
KEYS = ["variable", "unit"]


def cramers_v(labels: Int[np.ndarray, " N"], codes: Int[np.ndarray, " N"]) -> float:
    """Return Cramér's V, without correction: 0 where cluster and code know nothing of each other, 1 all.

    Args:
        labels: cluster of each visit.
        codes: something else of each visit, such as its sub-district; a negative one is left out.

    Returns:
        NaN where there is only one cluster or only one code.
    """
    known = codes >= 0
    rows, row = np.unique(labels[known], return_inverse=True)
    columns, column = np.unique(codes[known], return_inverse=True)
    if min(len(rows), len(columns)) < 2:
        return np.nan
    shape = (len(rows), len(columns))
    visits = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)
    return float(association(visits, method="cramer"))


def residence_table(
    labels: Int[np.ndarray, " N"],
    codes: Int[np.ndarray, " N"],
    names: Sequence[str],
    patients: Int[np.ndarray, " N"] | None,
    min_patients: int = MIN_PATIENTS,
) -> pd.DataFrame:
    """Return how the visits of each cluster, and all visits, spread over the sub-districts.

    Args:
        labels: cluster of each visit.
        codes: sub-district of each visit, a position in `names`; visits with a negative one are left out.
        names: of the sub-districts.
        patients: patient of each visit; None counts visits.
        min_patients: a cell with fewer behind it is blank. A single blank cell that others could tell (a
            column adds up to 100, a row to its overall cell) takes the next smallest of its line with it.

    Returns:
        A row per sub-district: subdistrict, a column per cluster ("cluster1"..), overall; percent of visits.
    """
    known = codes >= 0
    clusters, cluster = np.unique(labels[known], return_inverse=True)
    people = (
        np.arange(known.sum()) if patients is None else np.unique(patients[known], return_inverse=True)[1]
    )
    shape = (len(names), len(clusters))
    cell = codes[known].astype(np.int64) * shape[1] + cluster
    visits = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    of_cells = patients_in(cell, people, shape[0] * shape[1]).reshape(shape)
    shown = np.column_stack([of_cells, patients_in(codes[known], people, shape[0])])
    visits = np.column_stack([visits, visits.sum(axis=1)])
    percent = 100 * visits / np.maximum(visits.sum(axis=0), 1)
    columns = pd.Index([*(f"cluster{name}" for name in clusters), "overall"])
    table = pd.DataFrame(np.where(_blank(shown, min_patients), np.nan, percent), columns=columns)
    table.insert(0, "subdistrict", list(names))
    return table


def match_profiles(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Pair our clusters with the published ones that they are most like, each with at most one.

    The distance is the mean, over the variables that both have in the same unit, of the absolute difference
    in standard deviations (ddof 0) of the variable across the published clusters. A variable that all
    published clusters have alike is left out, and so is a blank number.

    Args:
        ours: as `profiles.profile` returns it.
        published: Table 7: the same columns but cv. `share_of_visits` is not used.

    Returns:
        A row per pair, in the order of our columns: cluster (ours), published, distance. Clusters that are
        left over, or of which nothing can be compared, come last, NaN in the place of the other.
    """
    one, two = _numbers(ours), _numbers(published)
    distances = _distances(ours, published)
    possible = ~np.isnan(distances)
    # A pair that cannot be compared costs more than all others together.
    worst = 1 + np.nansum(distances)
    rows, columns = linear_sum_assignment(np.where(possible, distances, worst))
    pairs = [(i, j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if possible[i, j]]
    lines = [(one[i], two[j], distances[i, j]) for i, j in pairs]
    lines += [(name, np.nan, np.nan) for i, name in enumerate(one) if i not in {i for i, _ in pairs}]
    lines += [(np.nan, name, np.nan) for j, name in enumerate(two) if j not in {j for _, j in pairs}]
    return pd.DataFrame(lines, columns=pd.Index(["cluster", "published", "distance"]), dtype=float)


def differences(ours: pd.DataFrame, published: pd.DataFrame, matching: pd.DataFrame) -> pd.DataFrame:
    """Return our number, the published one and their difference, for each pair of clusters.

    Args:
        ours: as `profiles.profile` returns it.
        published: Table 7.
        matching: as `match_profiles` returns it; clusters without a partner are left out.

    Returns:
        A row per pair and variable that both have in the same unit: group, variable, unit, cluster,
        published_cluster, ours, published, difference (ours less published, in the unit).
    """
    both = _merge(ours, published)
    tables = []
    for cluster, other in matching[["cluster", "published"]].dropna().astype(int).to_numpy().tolist():
        table = both[["group", *KEYS]].assign(cluster=cluster, published_cluster=other)
        table["ours"] = both[f"cluster{cluster}"]
        table["published"] = both[f"cluster{other}_published"]
        tables.append(table.assign(difference=table["ours"] - table["published"]))
    columns = ["group", *KEYS, "cluster", "published_cluster", "ours", "published", "difference"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=pd.Index(columns))


def _blank(patients: Int[np.ndarray, "S K"], min_patients: int) -> Bool[np.ndarray, "S K"]:
    """Return which cells of a table with its overall column are blank; no line with only one that counts."""
    blank, before = patients < min_patients, None
    while before is None or (blank != before).any():
        before = blank.copy()
        for lines, counts in ((blank, patients), (blank.T, patients.T)):
            for line, count in zip(lines, counts, strict=True):  # views: what is set is set in `blank`
                if np.sum(line & (count > 0)) == 1 and not line.all():
                    line[np.argmin(np.where(line, np.iinfo(int).max, count))] = True
    return blank


def _clusters(table: pd.DataFrame) -> list[str]:
    """Return the columns of the clusters."""
    return [name for name in table.columns if name.startswith("cluster")]


def _numbers(table: pd.DataFrame) -> list[int]:
    """Return the numbers of the clusters."""
    return [int(name.removeprefix("cluster")) for name in _clusters(table)]


def _merge(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return what both tables have in the same unit, in our order; the published columns end so."""
    theirs = published[published["variable"] != SHARE].set_index(KEYS)[_clusters(published)]
    return ours.merge(theirs.add_suffix("_published"), left_on=KEYS, right_index=True)


def _distances(ours: pd.DataFrame, published: pd.DataFrame) -> Float[np.ndarray, "K P"]:
    """Return how far each of our clusters is from each published one; NaN where nothing can be compared."""
    both = _merge(ours, published)
    own = both[_clusters(ours)].to_numpy(float)
    theirs = both[[f"{name}_published" for name in _clusters(published)]].to_numpy(float)
    # Not by the deviation: of equal numbers it need not be exactly 0.
    used = np.fmax.reduce(theirs, axis=1) > np.fmin.reduce(theirs, axis=1)
    own, theirs = own[used], theirs[used]
    deviation = np.nanstd(theirs, axis=1)
    away = np.abs(own[:, :, None] - theirs[:, None, :]) / deviation[:, None, None]
    known = ~np.isnan(away)
    count = known.sum(axis=0)
    total = np.where(known, away, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
