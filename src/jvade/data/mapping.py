"""A mapping file: which columns of a person's file play which part.

A mapping is a TOML file; its keys are the fields of the classes below, `Mapping` being the whole file. Codes
are written as text, as they stand in the file; a star at the end means "begins with" ("1*"). A column of a
side table is written with the name of its join in front: "institution.level".
"""

import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from jvade.data import dates
from jvade.data.errors import InputError, closest
from jvade.data.schema import Builder, marked
from jvade.data.text import UTF8, Csv
from jvade.data.variables import FIRST_VISIT, LEVELS, OUTCOME, STUDY_INPUTS

Column = Annotated[str, "column of the file"]
Codes = tuple[str, ...]
Unseen = Literal["stop", "left out"]
NAME = "[a-z][a-z0-9_]*"
AgeUnit = Literal["hours", "days", "weeks", "months", "years", "years over 100"]


@dataclass(frozen=True)
class Date:
    """Day of the visit. `format` as in strptime, for example "%Y%m%d"; left out: 2024-05-31."""

    column: Column
    format: str = ""


@dataclass(frozen=True)
class Age:
    """Age at the visit: a ready `column`, or completed years since the date of `birth`.

    A column counts years, unless `unit_column` holds a code for which `units` names the unit.
    """

    column: Column = ""
    unit_column: Column = ""
    units: dict[str, AgeUnit] = field(default_factory=dict)
    birth: Column = ""
    birth_format: str = ""


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

    level: tuple[Level, ...] = ()
    default: str = ""
    specialty: dict[Column, Codes] = field(default_factory=dict)


@dataclass(frozen=True)
class Subdistrict:
    """Where in the district the patient lives; `left_out` has no input (default: the most frequent).

    `labels` renames codes. `unseen`: whether a code that an earlier file did not have stops the run or
    counts as the one left out.
    """

    column: Column
    left_out: str = ""
    max_levels: int = 11
    labels: dict[str, str] = field(default_factory=dict)
    unseen: Unseen = "stop"


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
    "other", the most frequent (or `left_out`) without an input, `labels` renaming codes, `unseen` as above.
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
    unseen: Unseen = "stop"


@dataclass(frozen=True)
class Join:
    """A side table, such as institutions or areas: one row per `key`, found by the column `on`.

    Its columns are then written NAME.COLUMN, in a later join's `on` too. `file` is a path as seen from the
    mapping file. `charset` and `decimal`: how it is written, where not as the visits are, see `text.Csv`.
    """

    name: str
    file: str
    key: str
    on: Column
    charset: str = ""
    decimal: Literal["", ".", ","] = ""


@dataclass(frozen=True)
class Mapping:
    """A whole mapping file. Parts left empty give no inputs.

    Args:
        age, sex, outcome, cost: the parts every file must have.
        patient: column with the patient's identity; without it there is no history.
        visit: column that orders visits of one patient on one day; without it the order of the file does.
        join: side tables, in the order they are looked up.
        csv: how the CSV files are written.
        describe: further columns to describe clusters with, by our name; never an input. The study's are
            `zone` (of residence) and `destination` (of a visit that crosses).
        checks: by part of the mapping (patient, date, age, sex, outcome, cost, the name of a join or of a
            further input): whether a row that breaks a rule of that part stops the run, which is the
            default, or is dropped and counted.
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
    join: tuple[Join, ...] = ()
    csv: Csv = UTF8
    describe: dict[str, Column] = field(default_factory=dict)
    checks: dict[str, Literal["stop", "drop"]] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names that `checks` may use."""
        own = ("patient", "date", "age", "sex", "outcome", "cost")
        return (*own, *(part.name for part in (*self.join, *self.further)))

    def written(self, name: str = "") -> Csv:
        """Return how the file of a join is written, "" for the visits."""
        for join in self.join:
            if join.name == name:
                return Csv(join.charset or self.csv.charset, join.decimal or self.csv.decimal)
        return self.csv


def read_mapping(path: Path | str) -> Mapping:
    """Read a mapping file; the files of its joins are found from where it lies.

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
    mapping = parse_mapping(text, path.name)
    found = tuple(replace(join, file=str(path.parent / join.file)) for join in mapping.join)
    return replace(mapping, join=found)


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


def codes_listed(mapping: Mapping) -> dict[str, set[str]]:
    """Return the codes that a mapping lists of each column."""
    sex, outcome, age, levels = mapping.sex, mapping.outcome, mapping.age, mapping.institution
    pairs = [(sex.column, (*sex.female, *sex.male)), (outcome.column, outcome.yes)]
    pairs += [(age.unit_column, tuple(age.units)), *levels.specialty.items()]
    pairs += [pair for level in levels.level for pair in level.when.items()]
    chronic = (mapping.chronic.hypertension, mapping.chronic.diabetes)
    pairs += [(flag.column, flag.yes) for flag in chronic if isinstance(flag, Flag)]
    pairs += [(rows.column, (*rows.keep, *rows.drop)) for rows in mapping.filter]
    pairs += [(part.column, (*part.yes, part.left_out, *part.labels)) for part in mapping.further]
    if home := mapping.subdistrict:
        pairs.append((home.column, (home.left_out, *home.labels)))
    found: dict[str, set[str]] = {}
    for column, codes in pairs:
        found.setdefault(column, set()).update(codes)
    areas = {name for name in (outcome.residence, outcome.place) if name}  # they are compared
    either = {code for name in areas for code in found.get(name, ())}
    return found | dict.fromkeys(areas, either)


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
        "age: give either 'column' or 'birth'": bool(age.column) == bool(age.birth),
        "age: 'unit_column' and 'units' go together, and with 'column'": (
            bool(age.unit_column) != bool(age.units) or bool(age.birth and age.units)
        ),
        "age: 'birth' needs [date], the day of the visit": bool(age.birth) and mapping.date is None,
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
    day = mapping.date.format if mapping.date else ""
    for key, form in (("date.format", day), ("age.birth_format", age.birth_format)):
        try:
            dates.pattern(form or "%Y%m%d")
        except ValueError as error:
            wrong[f"{key}: {error}, for example \"%d/%m/%Y\"; got the text '{form}'"] = True
    wrong |= {f"csv.{problem}": True for problem in mapping.csv.problems}
    for join in mapping.join:
        if join.charset:
            wrong |= {f"join '{join.name}': {problem}": True for problem in Csv(join.charset).problems}
    for part in mapping.checks:
        near = closest(part, mapping.parts)
        wrong[f"checks: no part '{part}'{near}; the parts are: {', '.join(mapping.parts)}"] = (
            part not in mapping.parts
        )
    known: list[str] = []
    for join in mapping.join:
        wrong[f"join '{join.name}': used twice; choose another name"] = join.name in known
        wrong[
            f"join '{join.name}': use lower-case letters, digits and underscores, a letter first"
        ] = not re.fullmatch(NAME, join.name)
        known.append(join.name)
        later = [other.name for other in mapping.join if other.name not in known[:-1]]
        wrong[f"join '{join.name}': 'on' names a column of a join that does not come before it"] = (
            join.on.startswith(tuple(f"{name}." for name in later))
        )
    return [message for message, found in wrong.items() if found] + _bad_names(mapping)


def _bad_names(mapping: Mapping) -> list[str]:
    """Return what is wrong with the names a mapping gives to its own inputs."""
    part = mapping.institution
    names = [level.name for level in part.level] + ([part.default] if part.default else [])
    free = {variable.name for variable in LEVELS} & set(
        names
    )  # the study's levels may be given their meaning
    taken = {variable.name for variable in (*STUDY_INPUTS, FIRST_VISIT)} - free
    taken |= {OUTCOME, "patient", "row", "date"}
    found = []
    for name in [*names, *(further.name for further in mapping.further), *mapping.describe]:
        if not re.fullmatch(NAME, name):
            found.append(f"name '{name}': use lower-case letters, digits and underscores, a letter first")
        elif name in taken:
            found.append(f"name '{name}': taken already; choose another")
        taken.add(name)
    return found
