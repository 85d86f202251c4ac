"""What the visits of each cluster look like (section 3.6, Table 7), and where their patients live (4.1.2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jvade.analysis import association, intervals
from jvade.analysis import profiles as analysis
from jvade.analysis.profiles import Row
from jvade.data import published
from jvade.data.variables import CROSS_DISTRICT, VisitTable
from jvade.paper.stage import Outcome, Stage, Study
from jvade.paper.stages import cohort
from jvade.paper.stages.cohort import Cohort
from jvade.report.figures import clusters

#: Rows that Table 7 has beside the inputs: an extra column, its group, and words for each of its values. They
#: are the study's: a column with codes of one's own may have none of them.
DESCRIBED = {
    "zone": (
        "residence",
        {
            "inner": "Lives in the inner zone",
            "middle": "Lives in the middle zone",
            "outer": "Lives in the outer zone",
        },
    ),
    "destination": (
        "destination",
        {
            "city_centre": "Crossing visits: to the city centre",
            "adjacent_suburb": "Crossing visits: to an adjacent suburb",
            "non_adjacent_suburb": "Crossing visits: to another suburb",
        },
    ),
}
#: A variable that is in Table 7 or tells clusters apart this much is shown; `--show-all` shows the rest.
SHOWN_CV = 0.3
GROUPS = ("share", "outcome", "personal", "visit", "institution", "diagnosis", "residence", "destination")


def printed(table: VisitTable) -> list[Row]:
    """Return the rows of Table 7: those published in their order, then ours."""
    rows = [
        Row(v.group, v.name, *(("percent", 100.0) if v.kind == "binary" else (v.unit, 1.0)))
        for v in (CROSS_DISTRICT, *table.inputs)
        if v.group != "residence"
    ]
    for extra, (group, _) in DESCRIBED.items():
        unit = "percent" if extra == "zone" else "percent of cross-district visits"
        rows += [Row(group, value, unit, 100.0) for value in present(table, extra)]
    order = {name: place for place, name in enumerate(published.load("table7_profiles")["variable"])}
    later = [*GROUPS, *dict.fromkeys(row.group for row in rows)]
    return sorted(rows, key=lambda row: (later.index(row.group), order.get(row.variable, len(order))))


def present(table: VisitTable, extra: str) -> list[str]:
    """Return the values of `DESCRIBED` that the visits have."""
    values = DESCRIBED[extra][1] if extra in table.extras else ()
    return [value for value in values if np.any(table.frame[extra] == value)]


def described(study: Study) -> tuple[pd.DataFrame, list[Row]]:
    """Return the variables of Table 7 as columns, and its rows."""
    return study.derived("described", lambda: _described(cohort.load(study)))


def _described(visits: Cohort) -> tuple[pd.DataFrame, list[Row]]:
    frame, rows = visits.table.frame, printed(visits.table)
    columns: dict[str, Any] = {row.variable: frame[row.variable] for row in rows if row.variable in frame}
    stays = ~visits.table.outcome.astype(bool)
    for extra in DESCRIBED:
        for value in present(visits.table, extra):
            columns[value] = np.asarray(frame[extra] == value).astype(np.float32)
            if extra != "zone":  # told of the visits that cross
                columns[value][stays] = np.nan
    return pd.DataFrame(columns, copy=False), rows  # of millions of visits: no second copy of the table


def compute(study: Study) -> Outcome:
    """Profile every cluster with intervals, set it beside the published ones, and ask where patients live."""
    settings, visits = study.settings, cohort.load(study)
    labels = study.outcome("fine-tuning").arrays["labels"]
    frame, rows = described(study)
    table = analysis.profile(frame, rows, labels, visits.patients, settings.min_patients)
    theirs = published.load("table7_profiles")
    table["published"] = table["variable"].isin(theirs["variable"])
    matching = association.match_profiles(table, theirs)
    sizes = analysis.sizes(labels, visits.patients, settings.min_patients)
    tables = {
        "table7_profiles": table,
        "table7_sizes": sizes.table,
        "table7_matching": matching,
        "table7_differences": association.differences(table, theirs, matching),
        "table7_intervals": bounds(study, frame, rows, table, labels),
    }
    values = {
        "patients": sizes.patients,
        "patients_in_several": sizes.in_several,
        "shown_cv": SHOWN_CV,
    }
    codes, names = residence(visits)
    if names:
        tables["residence"] = association.residence_table(
            labels, codes, names, visits.patients, settings.min_patients
        )
        strength = association.cramers_v(labels, codes)
        values["cramers_v_residence"] = None if np.isnan(strength) else strength
    return Outcome(tables, values)


def bounds(
    study: Study, frame: pd.DataFrame, rows: list[Row], table: pd.DataFrame, labels: np.ndarray
) -> pd.DataFrame:
    """Return the 95 % interval of every number of the profiles, blank where the number is."""
    found = intervals.bootstrap(
        {row.variable: frame[row.variable].to_numpy() for row in rows},
        labels,
        cohort.load(study).patients,
        study.settings.seed,
        study.settings.n_boot,
    )
    factors = {row.variable: row.factor for row in rows}
    found[["low", "high"]] = found[["low", "high"]].mul(found.loc[:, "variable"].map(factors), axis=0)
    means = table.set_index("variable")
    shown = [
        not np.isnan(means.loc[variable, cluster if cluster == "overall" else f"cluster{cluster}"])
        for variable, cluster in found[["variable", "cluster"]].to_numpy()
    ]
    # The number of resamples with a visit would tell how many patients a blank one has.
    found["n_boot"] = found["n_boot"].astype(float)
    found.loc[~np.array(shown), ["low", "high", "n_boot"]] = np.nan
    return found.assign(cluster=found["cluster"].astype(str))


def residence(visits: Cohort) -> tuple[np.ndarray, list[str]]:
    """Return the sub-district of each visit as a position in a list of names, the one left out first."""
    inputs = [v for v in visits.table.inputs if v.group == "residence"]
    codes = np.zeros(len(visits.matrix), np.int64)
    for place, variable in enumerate(inputs, 1):
        codes[visits.table.frame[variable.name].to_numpy(bool)] = place
    return codes, ["the one left out", *(v.label for v in inputs)] if inputs else []


def shown(table: pd.DataFrame, show_all: bool) -> pd.DataFrame:
    """Return the rows of the profiles that are printed: published, or of a CV that tells clusters apart."""
    kept = table["published"] | (table["cv"] >= SHOWN_CV) | (table["group"] == "outcome")
    return table if show_all else table.loc[kept]


def words(study: Study) -> dict[str, str]:
    """Return words for every variable of the profiles."""
    labels = {one["name"]: one["label"] for one in study.outcome("cohort").values["inputs"]}
    for _, values in DESCRIBED.values():
        labels |= values
    return labels | {CROSS_DISTRICT.name: CROSS_DISTRICT.label}


def draw(study: Study, found: Outcome) -> Mapping[str, Figure]:
    """Draw the profiles as a heat map (Table 7)."""
    table = shown(found.tables["table7_profiles"], study.settings.show_all)
    return {"table7_profiles": clusters.profile_heatmap(table, words(study))}


STAGE = Stage(
    "profiles",
    "sections 3.6 and 4.1.2, Table 7",
    ("cohort", "fine-tuning"),
    ("seed", "min_patients", "n_boot"),
    compute,
    draw,
)
