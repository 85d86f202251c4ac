"""How near a simulated district comes to the published profiles: its planted types against Table 7.

What is allowed (and counts as "within"):

- All visits, the `overall` column: percentages within 1 point, means within 5 %.
- One type: percentages within 3 points where the published one is 5 or more, else within 25 % of it; means
  within 10 %. Table 7 is rounded to 0.1: a percentage that rounds to the published one is always within, so
  that a cell published as 0.0 allows up to 0.05.

A cost may be missing, at random: its mean is over the others, and every other row over all visits. Table 7
contradicts itself on one number: the types' `female` weighs up to 54.2, `overall` says 55.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int

ALL_POINTS, ALL_RELATIVE = 1.0, 0.05
TYPE_POINTS, TYPE_RELATIVE, SMALL, SMALL_RELATIVE = 3.0, 0.10, 5.0, 0.25
ROUNDING = 0.05  # half of the last digit of Table 7
COLUMNS = ("1", "2", "3", "4", "5", "6", "7", "overall")
SHARE, OUTCOME, BEFORE = "share_of_visits", "cross_district", "crossed_before"
INCLUSIVE = "crossed_before, this visit included"
#: Inputs that Table 7 leaves out, and how to print their means: whatever they are is a simulator's choice.
UNPUBLISHED = {"days_since_last_visit": "days", "perinatal": "percent", "congenital": "percent"}


@dataclass(frozen=True)
class Fidelity:
    """The comparison; columns "1" to "7" are types.

    Args:
        cells: a row per published number: group, variable, unit, column ("1" to "7", "overall"), published,
            simulated, difference, allowed, used (the part of it that the difference takes up), within.
        readings: `crossed_before` as published, counting earlier visits only ("strict") and this one too
            ("inclusive"): a row each, `COLUMNS`, and `within`, true where every cell is.
        ours: mean of each variable of `UNPUBLISHED`: variable, unit, `COLUMNS`.
        notes: what else a reader should know of the district, by name.
    """

    cells: pd.DataFrame
    readings: pd.DataFrame
    ours: pd.DataFrame
    notes: Mapping[str, float]

    @property
    def within(self) -> bool:
        """Whether every published number is met."""
        return bool(self.cells["within"].all())

    def worst(self) -> pd.DataFrame:
        """Return the cell of each column that takes up most of what it is allowed."""
        steepest = self.cells.sort_values("used", ascending=False, kind="stable")
        first = steepest.drop_duplicates("column").set_index("column", drop=False)
        return first.loc[list(COLUMNS)].reset_index(drop=True)

    def wide(self) -> pd.DataFrame:
        """Return Table 7 as text: simulated, then published in brackets; "!" marks what is not within."""
        lines: dict[str, dict[str, str]] = {}
        for cell in self.cells.to_dict("records"):
            line = lines.setdefault(
                cell["variable"], {name: cell[name] for name in ("group", "variable", "unit")}
            )
            mark = "" if cell["within"] else " !"
            line[cell["column"]] = f"{cell['simulated']:.1f} ({cell['published']:.1f}){mark}"
        for row in self.ours.to_dict("records"):
            text = {name: f"{row[name]:.1f} (-)" for name in COLUMNS}
            lines[row["variable"]] = {
                "group": "ours",
                "variable": row["variable"],
                "unit": row["unit"],
                **text,
            }
        return pd.DataFrame(lines.values())

    def lines(self) -> list[str]:
        """Return what the comparison comes to, in words."""
        found = [
            f"{self.cells['within'].sum()} of {len(self.cells)} published numbers within what is allowed"
        ]
        for cell in self.worst().to_dict("records"):
            where = cell["column"] if cell["column"] == "overall" else f"type {cell['column']}"
            found.append(
                f"largest deviation, {where}: {cell['variable']} {cell['simulated']:.2f} against "
                f"{cell['published']:.1f} {cell['unit']}, {cell['used']:.0%} of what is allowed"
            )
        published, strict, inclusive = (
            f"{name} {self.readings.loc[name, 'overall']:.1f}"
            for name in ("published", "strict", "inclusive")
        )
        fits = [name for name in ("strict", "inclusive") if self.readings.loc[name, "within"]]
        found.append(
            f"crossed_before, percent of all visits: {published}, {strict} (earlier visits), {inclusive} "
            f"(this one too); within in every column: {' and '.join(fits) or 'neither'}"
        )
        found.append(f"not in Table 7, our choice: {', '.join(self.ours['variable'])}")
        return found


def compare(
    visits: pd.DataFrame,
    types: Int[np.ndarray, " N"],
    published: pd.DataFrame,
    patients: Int[np.ndarray, " N"] | None = None,
) -> Fidelity:
    """Compare the visits of planted types with the published profiles (section 3.6, Table 7).

    Args:
        visits: a row per visit, those without a cost included: the variables of Table 7, flags as 0/1,
            `cross_district`, `zone`, and `destination` (a name of Table 7 where the visit crosses).
        types: planted type of each visit, 1 to 7.
        published: Table 7: group, variable, unit, cluster1 to cluster7, overall.
        patients: patient of each visit, for the notes.

    Raises:
        ValueError: a type has no visits, or there are other types.
    """
    names = np.unique(types).tolist()
    if names != list(range(1, 8)):
        raise ValueError(f"types: expected visits of each of 1 to 7, got {names}")
    crossed = visits[OUTCOME].to_numpy(bool)
    before = np.asarray(visits[BEFORE], bool)
    places = (
        np.asarray(visits.loc[crossed, "destination"].astype(object)) if "destination" in visits else None
    )
    simulated = {
        SHARE: [*(100 * np.bincount(types)[1:] / len(types)), 100.0],
        INCLUSIVE: means(before | crossed, types, "percent"),
    }
    for group, name, unit in published[["group", "variable", "unit"]].to_numpy():
        if group == "residence":
            simulated[name] = means(np.asarray(visits["zone"] == name), types, unit)
        elif group == "destination":
            simulated[name] = means(places == name, types[crossed], unit)
        elif name != SHARE:
            simulated[name] = means(np.asarray(visits[name]), types, unit)

    theirs = published.rename(columns={f"cluster{i}": f"{i}" for i in range(1, 8)})
    cells = theirs.melt(["group", "variable", "unit"], list(COLUMNS), "column", "published")
    pairs = zip(cells["variable"], cells["column"], strict=True)
    cells["simulated"] = [simulated[name][COLUMNS.index(column)] for name, column in pairs]
    cells["difference"] = cells["simulated"] - cells["published"]
    cells["allowed"] = allowed(cells)
    cells["used"] = cells["difference"].abs() / cells["allowed"]
    cells["within"] = cells["used"] <= 1

    limit = (
        cells[cells["variable"] == BEFORE].set_index("column").loc[list(COLUMNS), "allowed"].to_numpy(float)
    )
    lines = {
        "published": theirs.loc[theirs["variable"] == BEFORE, list(COLUMNS)].to_numpy(float)[0],
        "strict": simulated[BEFORE],
        "inclusive": simulated[INCLUSIVE],
    }
    readings = pd.DataFrame(lines.values(), index=pd.Index(lines), columns=pd.Index(COLUMNS))
    readings["within"] = [bool(np.all(np.abs(x - lines["published"]) <= limit)) for x in lines.values()]
    ours = [
        {"variable": name, "unit": unit}
        | dict(zip(COLUMNS, means(np.asarray(visits[name]), types, unit), strict=True))
        for name, unit in UNPUBLISHED.items()
        if name in visits
    ]
    table = pd.DataFrame(ours, columns=pd.Index(["variable", "unit", *COLUMNS]))
    return Fidelity(cells, readings, table, describe(visits, patients))


def means(values: np.ndarray, types: Int[np.ndarray, " N"], unit: str) -> np.ndarray:
    """Return the mean in each type and over all visits, of what is not missing, (8,).

    Args:
        values: of each visit; flags become percent where the unit says so.
        types: of each visit, 1 to 7.
        unit: as in Table 7.
    """
    numbers = np.asarray(values, float)
    known = ~np.isnan(numbers)
    counts = np.bincount(types[known], minlength=8)[1:]
    sums = np.bincount(types[known], numbers[known], minlength=8)[1:]
    sums, counts = np.append(sums, sums.sum()), np.append(counts, counts.sum())
    mean = np.divide(sums, counts, out=np.full(len(COLUMNS), np.nan), where=counts > 0)
    return mean * (100 if unit.startswith("percent") else 1)


def allowed(cells: pd.DataFrame) -> np.ndarray:
    """Return how far each simulated number may be from the published one, in its unit.

    Args:
        cells: rows with unit, column and published.
    """
    value, overall = cells["published"].to_numpy(float), cells["column"].to_numpy() == "overall"
    points = np.where(value >= SMALL, TYPE_POINTS, np.maximum(SMALL_RELATIVE * value, ROUNDING))
    percent = np.where(overall, ALL_POINTS, points)
    mean = np.where(overall, ALL_RELATIVE, TYPE_RELATIVE) * value
    return np.where(cells["unit"].str.startswith("percent"), percent, mean)


def describe(visits: pd.DataFrame, patients: np.ndarray | None) -> dict[str, float]:
    """Return counts of visits and patients, and the share without a cost.

    Args:
        visits: a row per visit, with `cost`.
        patients: patient of each visit, if known.
    """
    notes = {
        "visits": float(len(visits)),
        "percent of visits without a cost": 100 * float(np.mean(np.isnan(visits["cost"].to_numpy(float)))),
    }
    if patients is not None:
        counts = np.unique(patients, return_counts=True)[1]
        notes |= {
            "patients": float(len(counts)),
            "visits per patient, mean": float(counts.mean()),
            "visits per patient, standard deviation": float(counts.std()),
            "visits per patient, most": float(counts.max()),
            "percent of visits that are a patient's first": 100 * len(counts) / len(visits),
        }
    return notes
