"""The inputs of the study (Table 2) and the table of visits that every other wing receives."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["numeric", "binary"]

OUTCOME = "cross_district"  # y of Table 2: describes the clusters, never makes them


@dataclass(frozen=True)
class Variable:
    """One input of the clustering.

    Args:
        name: column name.
        label: words for a reader.
        group: heading it stands under in Table 7 (personal, visit, institution, residence, diagnosis).
        kind: "numeric" gets a z-score; "binary" is 0 or 1 and stays so.
        unit: unit of a numeric input; "" for a binary one.
        code_of: the variable that a binary input is one code of, such as the diagnosis: no visit has two of
            them. "" for others.
    """

    name: str
    label: str
    group: str
    kind: Kind
    unit: str = ""
    code_of: str = ""


#: The outcome as a variable of tables: its words and its group, once for all of them.
CROSS_DISTRICT = Variable(OUTCOME, "Care outside the home area", "outcome", "binary")


def _codes(of: str, group: str, labels: dict[str, str]) -> tuple[Variable, ...]:
    return tuple(Variable(name, label, group, "binary", code_of=of) for name, label in labels.items())


DIAGNOSES = _codes(
    "diagnosis",
    "diagnosis",
    {
        "malignant_neoplasm": "Malignant neoplasm",
        "other_neoplasm": "Other neoplasm",
        "endocrine": "Endocrine, nutritional and metabolic",
        "mental": "Mental and behavioural",
        "eye": "Eye",
        "circulatory": "Circulatory system",
        "respiratory": "Respiratory system",
        "digestive": "Digestive system",
        "skin": "Skin",
        "musculoskeletal": "Musculoskeletal system",
        "pregnancy": "Pregnancy and childbirth",
        "perinatal": "Perinatal conditions",
        "congenital": "Congenital malformations",
        "symptoms": "Symptoms and abnormal findings",
        "health_factors": "Factors influencing health status",
    },
)
LEVELS = _codes(
    "level",
    "institution",
    {
        "municipal": "Municipal hospital",
        "tertiary": "Tertiary hospital",
        "secondary": "Secondary hospital",
        "community": "Community health centre",
    },
)

#: x1 to x38 of Table 2, in its order; grouped as in Table 7.
STUDY_INPUTS: tuple[Variable, ...] = (
    Variable("female", "Female", "personal", "binary"),
    Variable("age", "Age", "personal", "numeric", "years"),
    Variable("cost", "Cost of the visit", "visit", "numeric", "yuan"),
    Variable("hypertension", "Hypertension", "personal", "binary"),
    Variable("diabetes", "Diabetes", "personal", "binary"),
    Variable("visits_this_year", "Earlier visits this year", "visit", "numeric", "count"),
    Variable("days_since_last_visit", "Days since the last visit", "visit", "numeric", "days"),
    Variable("crossed_before", "Crossed district before", "visit", "binary"),
    *LEVELS,
    Variable("specialty", "Specialty hospital", "institution", "binary"),
    *_codes("subdistrict", "residence", {f"subdistrict_{i:02d}": f"Sub-district {i}" for i in range(1, 11)}),
    *DIAGNOSES,
)

#: Not in Table 2: separates a first visit from one after an average gap, which scaling makes equal.
FIRST_VISIT = Variable("first_visit", "First visit in the data", "visit", "binary")


@dataclass(frozen=True)
class Dropped:
    """Rows that broke one rule and were left out for it.

    Args:
        rule: column and rule, in words.
        rows: how many; a row that breaks several rules counts for the first.
        first: where the first of them stands.
    """

    rule: str
    rows: int
    first: str


#: Notes of an account: dates that stand for "unknown" lie far from the others.
FIRST_YEAR, LAST_YEAR = "year of the first visit", "year of the last visit"


@dataclass(frozen=True)
class Account:
    """What became of the rows that were read.

    Args:
        rows_read: rows in the file.
        filtered_out: rows the mapping's filters left out.
        dropped: rows that broke a rule, such as those without a cost (section 2.1).
        kept: rows that remain.
        warnings: things worth a look that stop nothing.
        notes: further counts and shares by name, for example the share of first visits.
    """

    rows_read: int
    filtered_out: int
    dropped: tuple[Dropped, ...]
    kept: int
    warnings: list[str] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the account as lines of text: what was read, dropped and kept, notes, warnings."""
        counts = [("rows read", self.rows_read), ("left out by filters", self.filtered_out)]
        counts += [(f"dropped, {drop.rule} (first: row {drop.first})", drop.rows) for drop in self.dropped]
        counts += [("visits kept", self.kept)]
        width = max(len(f"{count:,}") for _, count in counts)
        forms = {FIRST_YEAR: ".0f", LAST_YEAR: ".0f"}
        notes = [
            f"{name}: {value:{forms.get(name, ',.4g' if value % 1 else ',.0f')}}"
            for name, value in self.notes.items()
        ]
        return (
            [f"{count:>{width},}  {what}" for what, count in counts]
            + notes
            + [f"warning: {text}" for text in self.warnings]
        )


@dataclass(frozen=True)
class VisitTable:
    """Visits ready for analysis, one row each.

    Args:
        frame: columns by name. Every input (float32 when numeric, uint8 when binary; a missing number
            is NaN, such as the gap before a first visit), `cross_district` (bool), `row` (number of the
            row in the file, from 1, header not counted), `patient` (int32 code; absent when the file
            has no patient column), and the extras.
        inputs: the inputs, in the order the clustering sees them.
        extras: columns kept to describe visits with, never an input.
        account: what became of the rows.
        levels: for each one-hot column of the file, its codes: the one left out first, then those with an
            input of their own. Give it back to `read_visits` so that another file gets the same inputs.
    """

    frame: pd.DataFrame
    inputs: tuple[Variable, ...]
    extras: tuple[str, ...]
    account: Account
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the inputs, in order."""
        return [variable.name for variable in self.inputs]

    @property
    def outcome(self) -> np.ndarray:
        """Whether each visit crossed the district border, bool (N,)."""
        return self.frame[OUTCOME].to_numpy(dtype=bool)
