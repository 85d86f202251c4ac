"""A mapping file: which columns of a person's file play which part.

A mapping is a TOML file; its keys are the fields of the classes below, `Mapping` being the whole file. Codes
are written as text, as they stand in the file; a star at the end means "begins with" ("1*").
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from jvade.data.errors import InputError
from jvade.data.schema import Builder, marked
from jvade.data.variables import FIRST_VISIT, LEVELS, OUTCOME, STUDY_INPUTS

Column = Annotated[str, "column of the file"]
Codes = tuple[str, ...]
AgeUnit = Literal["hours", "days", "weeks", "months", "years", "years over 100"]


@dataclass(frozen=True)
class Date:
    """Day of the visit. `format` as in strptime, for example "%Y%m%d"; left out: 2024-05-31."""

    column: Column
    format: str = ""


@dataclass(frozen=True)
class Age:
    """Age at the visit, in years unless `unit_column` holds a code for which `units` names the unit."""

    column: Column
    unit_column: Column = ""
    units: dict[str, AgeUnit] = field(default_factory=dict)


@dataclass(frozen=True)
class Sex:
    """Sex, by the codes that stand for female and male."""

    column: Column
    female: Codes
    male: Codes


@dataclass(frozen=True)
class Flag:
    """A ready yes-or-no column: `yes` lists the codes that mean yes; all else, blank too, means no."""

    column: Column
    yes: Codes


@dataclass(frozen=True)
class Outcome:
    """Whether a visit crossed: `residence` and `place` differ; or a ready `column` with its `yes` codes."""

    residence: Column = ""
    place: Column = ""
    column: Column = ""
    yes: Codes = ()


@dataclass(frozen=True)
class Cost:
    """Total cost of the visit and its currency."""

    column: Column
    unit: str = "yuan"


@dataclass(frozen=True)
class Diagnosis:
    """ICD-10 columns: `principal` makes the diagnosis flags, `others` count for chronic conditions only."""

    principal: Column
    others: tuple[Column, ...] = ()


@dataclass(frozen=True)
class Chronic:
    """Chronic conditions: "from diagnosis" (this or an earlier visit), a ready flag, or left out."""

    hypertension: Literal["from diagnosis"] | Flag | None = None
    diabetes: Literal["from diagnosis"] | Flag | None = None


@dataclass(frozen=True)
class Level:
    """One institution level: every column of `when` must hold one of the codes listed for it."""

    name: str
    when: dict[Column, Codes]
    label: str = ""


@dataclass(frozen=True)
class Institution:
    """Where the visit took place. A row gets the first of `level` that fits, else `default` (or none)."""

    id: Column = ""
    level: tuple[Level, ...] = ()
    default: str = ""
    specialty: dict[Column, Codes] = field(default_factory=dict)


@dataclass(frozen=True)
class Subdistrict:
    """Where in the district the patient lives; `left_out` has no input (default: the most frequent)."""

    column: Column
    left_out: str = ""
    max_levels: int = 11


@dataclass(frozen=True)
class History:
    """`first_visit` adds that input; `crossed_before_counts_this_visit` lets the outcome into an input."""

    first_visit: bool = True
    crossed_before_counts_this_visit: bool = False


@dataclass(frozen=True)
class Filter:
    """Rows to keep: those whose column holds a code of `keep`, or none of `drop`."""

    column: Column
    keep: Codes = ()
    drop: Codes = ()


@dataclass(frozen=True)
class Further:
    """An input the study does not have.

    A number (`unit`), a flag (`yes`) or a one-hot code: at most `max_levels` codes, rarer ones pooled as
    "other", the most frequent (or `left_out`) without an input, `labels` renaming codes.
    """

    name: str
    column: Column
    kind: Literal["numeric", "binary", "categorical"]
    label: str = ""
    unit: str = ""
    yes: Codes = ()
    labels: dict[str, str] = field(default_factory=dict)
    left_out: str = ""
    max_levels: int = 10


@dataclass(frozen=True)
class Mapping:
    """A whole mapping file. Parts left empty give no inputs.

    Args:
        age, sex, outcome, cost: the parts every file must have.
        patient: column with the patient's identity; without it there is no history.
        visit: column that orders visits of one patient on one day; without it the order of the file does.
    """

    age: Age
    sex: Sex
    outcome: Outcome
    cost: Cost
    title: str = ""
    patient: Column = ""
    visit: Column = ""
    date: Date | None = None
    institution: Institution = field(default_factory=Institution)
    diagnosis: Diagnosis | None = None
    chronic: Chronic = field(default_factory=Chronic)
    subdistrict: Subdistrict | None = None
    history: History = field(default_factory=History)
    filter: tuple[Filter, ...] = ()
    further: tuple[Further, ...] = ()


def read_mapping(path: Path | str) -> Mapping:
    """Read a mapping file.

    Raises:
        InputError: the file cannot be read, is no TOML, or does not fit; lists every problem.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "cannot be opened"
        raise InputError(
            [f"the mapping file {reason}; check the path and save it as UTF-8"], path.name
        ) from None
    return parse_mapping(text, path.name)


def parse_mapping(text: str, source: str = "mapping") -> Mapping:
    """Parse the text of a mapping file; `source` names it in messages.

    Raises:
        InputError: the text is no TOML or does not fit; lists every problem.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError([f"not valid TOML: {error}"], source) from None
    builder = Builder()
    mapping = builder.build(Mapping, raw)
    if not builder.problems:
        builder.problems += _contradictions(mapping)
    if builder.problems:
        raise InputError(builder.problems, source)
    return mapping


def columns_used(mapping: Mapping) -> list[tuple[str, str]]:
    """Return every column a mapping names, with the key that names it."""
    return list(marked(mapping, Column))


def _contradictions(mapping: Mapping) -> list[str]:
    """Return what is well formed but makes no sense."""
    outcome, age, chronic = mapping.outcome, mapping.age, mapping.chronic
    borders, ready = (outcome.residence, outcome.place), (outcome.column, outcome.yes)
    wrong = {
        "outcome: give either 'residence' and 'place', or 'column' and 'yes'": (
            not (all(borders) and not any(ready)) and not (all(ready) and not any(borders))
        ),
        "date: missing; a patient's history needs the date of each visit": (
            bool(mapping.patient) and mapping.date is None
        ),
        "age: 'unit_column' and 'units' go together": bool(age.unit_column) != bool(age.units),
        "sex: a code is listed as both female and male": bool(
            set(mapping.sex.female) & set(mapping.sex.male)
        ),
        "chronic: 'from diagnosis' needs the table [diagnosis]": (
            "from diagnosis" in (chronic.hypertension, chronic.diabetes) and mapping.diagnosis is None
        ),
    }
    for i, rows in enumerate(mapping.filter, start=1):
        wrong[f"filter[{i}]: give either 'keep' or 'drop'"] = bool(rows.keep) == bool(rows.drop)
    for level in mapping.institution.level:
        wrong[f"institution.level '{level.name}': 'when' names no column"] = not level.when
    for part in mapping.further:
        named = f"further '{part.name}':"
        wrong[f"{named} 'yes' goes with kind \"binary\", and only with it"] = (part.kind == "binary") != bool(
            part.yes
        )
        wrong[f"{named} 'max_levels' must be 2 or more, got {part.max_levels}"] = part.max_levels < 2
    if mapping.subdistrict:
        most = mapping.subdistrict.max_levels
        wrong[f"subdistrict: 'max_levels' must be 2 or more, got {most}"] = most < 2
    return [message for message, found in wrong.items() if found] + _bad_names(mapping)


def _bad_names(mapping: Mapping) -> list[str]:
    """Return what is wrong with the names a mapping gives to its own inputs."""
    part = mapping.institution
    names = [level.name for level in part.level] + ([part.default] if part.default else [])
    free = {variable.name for variable in LEVELS} & set(
        names
    )  # the study's levels may be given their meaning
    taken = {variable.name for variable in (*STUDY_INPUTS, FIRST_VISIT)} - free
    taken |= {OUTCOME, "patient", "row", "date", "residence", "place", "institution"}
    found = []
    for name in names + [further.name for further in mapping.further]:
        if not re.fullmatch("[a-z][a-z0-9_]*", name):
            found.append(f"name '{name}': use lower-case letters, digits and underscores, a letter first")
        elif name in taken:
            found.append(f"name '{name}': taken already; choose another")
        taken.add(name)
    return found
