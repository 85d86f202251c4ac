"""From a file of visits to the inputs of the study (section 2.1, Tables 1 and 2), history included.

Filters come first; then rows are typed, told their histories and sorted in one Ibis expression, and staged;
then the checks count what is wrong, the visits without a cost leave, and the inputs are spread out. All of it
runs in bounded memory, and on any engine alike.
"""

# Ibis annotates less than it accepts (a list of text in `isin`, a number beside an expression):
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportReturnType=false, reportIndexIssue=false, reportAssignmentType=false

import collections.abc
from dataclasses import dataclass, replace
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jvade.data import checks, history, icd10
from jvade.data.engines import ROW, Engine, EngineSettings, connect, named, readable, scratch
from jvade.data.errors import InputError
from jvade.data.lookups import GROUP, NONE, ODD, gather, has_few
from jvade.data.mapping import Further, Mapping, Outcome, Subdistrict, columns_used
from jvade.data.matrix import Scaling
from jvade.data.onehot import Coding, choose_levels, one_hot, unseen
from jvade.data.parse import CODING, LEVEL, MOMENT, UNSURE, Parser, passes
from jvade.data.source import Source, open_table
from jvade.data.tidy import code, day
from jvade.data.variables import (
    FIRST_VISIT,
    FIRST_YEAR,
    LAST_YEAR,
    LEVELS,
    OUTCOME,
    STUDY_INPUTS,
    Account,
    Variable,
    VisitTable,
)

Levels = collections.abc.Mapping[str, tuple[str, ...]]
OLD_AGE = 110  # few are older: an age over it may stand for "unknown"
CROSS = "share of visits that cross"
OLD = f"visits at an age over {OLD_AGE} years"
UNSURE_VISITS = "visits whose residence or place reads as unknown"
#: A patient with more than this share of a table of this many visits may be none, but stand for the unknown.
PLACEHOLDER_SHARE, PLACEHOLDER_VISITS = 0.05, 1000
NOTE = "note: "  # start of the names of measures that a reader gets to see


@dataclass(frozen=True)
class Features:
    """What is known about a table of features that lies in a Parquet file.

    Args:
        inputs: the inputs, in the order the clustering sees them.
        extras: further columns, to describe visits with.
        account: what became of the rows.
        levels: see `VisitTable`.
        scaling: mean and standard deviation of its numeric inputs.
    """

    inputs: tuple[Variable, ...]
    extras: tuple[str, ...]
    account: Account
    levels: dict[str, tuple[str, ...]]
    scaling: Scaling


def read_visits(
    path: Path | str,
    mapping: Mapping,
    levels: Levels | None = None,
    settings: EngineSettings | None = None,
    min_rows: int = 1,
) -> VisitTable:
    """Read a table of visits.

    Args:
        path: .csv, .csv.gz or .parquet, or a folder of parts; one row per visit.
        mapping: which column plays which part.
        levels: `VisitTable.levels` of an earlier file, to get exactly the inputs it had.
        settings: where the table is computed.
        min_rows: of a code that gets an input; rarer ones are pooled.

    Returns:
        The visits that passed the filters and the checks and have a cost, in the order of the file.

    Raises:
        InputError: the file cannot be read or breaks a rule; lists everything that is wrong with it.
    """
    with scratch(settings) as folder:
        out = folder / "features.parquet"
        features = write_features(path, mapping, out, levels, settings, min_rows)
        return load(out, features)


def write_features(
    path: Path | str,
    mapping: Mapping,
    out: Path,
    levels: Levels | None = None,
    settings: EngineSettings | None = None,
    min_rows: int = 1,
) -> Features:
    """Write the features of a table of visits, in original units, as Parquet (Spark: a folder of parts).

    Args:
        path: as for `read_visits`, and so are `mapping`, `levels`, `settings` and `min_rows`.
        mapping: which column plays which part.
        out: the file to write: `row`, `patient` (a number that says nothing about who it is), the inputs
            (0/1 ones as booleans), `cross_district` and the extras.
        levels: of an earlier file.
        settings: where the table is computed.
        min_rows: of a code that gets an input.

    Raises:
        InputError: as `read_visits`; nothing was written.
    """
    with connect(settings) as engine:
        source = open_table(path, engine, [name for name, _ in columns_used(mapping)], mapping.csv)
        staged = _admit(source, mapping, engine)
        with readable(source.name, engine, source.text):
            used, new_codes = _levels(staged, mapping, levels or {}, source, min_rows)
            inputs, table = _expand(staged, mapping, used, source)
            engine.write(table, out)
            known = {"row", "patient", OUTCOME, *(variable.name for variable in inputs)}
            extras = tuple(name for name in table.columns if name not in known)
            scaling, notes, crowded = _measure(table, _ends(out), inputs, staged, mapping)
            warnings = _warnings(scaling, notes, crowded, mapping, used) + new_codes
            warnings += _of_areas(staged.account) + _of_outcome(staged, notes, mapping.outcome)
        account = replace(staged.account, notes=notes | staged.account.notes, warnings=warnings)
    return Features(tuple(inputs), extras, account, used, scaling)


def load(out: Path, features: Features) -> VisitTable:
    """Load features that were written: numbers as float32, flags as uint8, texts as categories."""
    table = pq.read_table(out)
    binary = {v.name for v in features.inputs if v.kind == "binary"}
    columns: dict[str, object] = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_boolean(column.type):
            values = column.to_numpy()
            columns[name] = values.view(np.uint8) if name in binary else values
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = column.dictionary_encode().combine_chunks().to_pandas()
        else:
            columns[name] = column.to_pandas()
    frame = pd.DataFrame(columns, copy=False)
    return VisitTable(frame, features.inputs, features.extras, features.account, features.levels)


@dataclass(frozen=True)
class Staged:
    """Typed visits that are kept, with their histories, once the whole file has passed the checks.

    Args:
        table: a row per visit, in the order of the file.
        dropped: those that are not kept.
        read: all of them as they were read, tidied, under the person's names.
        codes: the codes of the columns that hold positions, by the person's names.
        account: what became of the rows.
    """

    table: ir.Table
    dropped: ir.Table
    read: ir.Table
    codes: dict[str, list[str]]
    account: Account


def _admit(source: Source, mapping: Mapping, engine: Engine) -> Staged:
    """Type the visits, tell their histories, and try every rule on them in one pass.

    The table is computed once, in the order of its rows, which joins and windows mix up.
    """
    with readable(source.name, engine, source.text):
        columns = gather(source, mapping, engine)
        parser = Parser(columns.table.filter(passes(columns.table, mapping)), columns.codes, mapping)
        rules = [rule for rule in parser.rules if rule.column not in columns.absent]
        rows = int(source.table.count().to_pyarrow().as_py())
        row = parser.visits[ROW].cast("int32" if rows < 2**31 else "int64")  # the sorts carry it along
        visits = engine.view(parser.visits.select(named({ROW: row} | parser.values | checks.masks(rules))))
        dropping = [i for i, rule in enumerate(rules) if rule.drops]
        if mapping.patient:
            chronic = [n for n in icd10.CHRONIC_RANGES if getattr(mapping.chronic, n) == "from diagnosis"]
            early = [i for i in dropping if rules[i].early]
            apart = checks.breaks_any(visits, early) if early else None
            counts_this_visit = mapping.history.crossed_before_counts_this_visit
            visits = history.tell(visits, apart, chronic, counts_this_visit, _one_year(source, mapping))
        staged = engine.stage(visits.order_by(ROW))
        broken = checks.breaks_any(staged, dropping)
        found = checks.check_rows(staged, rules, source, _measures(staged, mapping))
        parted = checks.parted_thousands(parser.visits, parser.commas)
    problems = columns.problems + found.problems + parted
    passed, remaining = found.total("rows", kept=False), found.total("rows")
    if rows == 0:
        problems = ["the file has a header but no rows; export the table again"]
    elif passed == 0 and not problems:
        problems.append(f"none of the {rows} rows passes the filters; check each [[filter]]")
    elif remaining == 0 and found.dropped:
        most = max(found.dropped, key=lambda drop: drop.rows)
        advice = "and no row remains; check the mapping of that column"
        problems.append(f"{most.rule} in {most.rows} rows, {advice}")
    if problems:
        raise InputError(problems, source.name)
    notes = {n.removeprefix(NOTE): found.total(n) for n in found.groups[0] if n.startswith(NOTE)}
    account = Account(rows, rows - passed, tuple(found.dropped), remaining, notes=notes)
    return Staged(staged.filter(~broken), staged.filter(broken), parser.visits, columns.codes, account)


def _one_year(source: Source, mapping: Mapping) -> bool:
    """Return whether all visits are known to lie in one calendar year: then one window serves all of history.

    Text is not looked at: to parse it costs more than a second window.
    """
    name = mapping.date.column if mapping.date else ""
    if name not in source.table.columns or any(name.startswith(f"{join.name}.") for join in mapping.join):
        return False
    column = source.table[name]
    if not (column.type().is_date() or column.type().is_timestamp()):
        return False
    found = source.table.aggregate(first=column.min().year(), last=column.max().year()).to_pyarrow()
    return found["first"].equals(found["last"])


def _measures(staged: ir.Table, mapping: Mapping) -> dict[str, ir.Value]:
    """Return what else to measure in the pass of the checks."""
    found: dict[str, ir.Value] = {}
    if mapping.diagnosis:
        found[f"{NOTE}principal diagnosis codes that are not ICD-10"] = staged[ODD].sum()
    if UNSURE in staged.columns:
        found[f"{NOTE}{UNSURE_VISITS}"] = staged[UNSURE].sum()
    if mapping.institution.level and not mapping.institution.default:
        found[f"{NOTE}visits of no institution level"] = (staged[LEVEL] == NONE).sum()
    for part in mapping.further:
        if part.kind == "numeric":
            found[f"{NOTE}visits without {part.name}"] = staged[part.name].isnull().sum()
    return found


def _expand(
    staged: Staged, mapping: Mapping, used: Levels, source: Source
) -> tuple[list[Variable], ir.Table]:
    """Return the inputs and the table of features, by the levels of its one-hot columns."""
    codings, visits = _codings(mapping), staged.table
    columns: dict[str, ir.Value] = {"row": visits[ROW].cast("int64")}
    if mapping.patient:
        columns["patient"] = visits["patient"].cast("int64")
    inputs: list[Variable] = []
    ready = _ready(visits, mapping)
    for part in _inputs(mapping, codings, ready):
        if isinstance(part, Variable):
            inputs.append(part)
            column = ready[part.name]
            columns[part.name] = column.cast("float32") if part.kind == "numeric" else column
        else:
            codes = staged.codes[part.column]
            variables, flags = one_hot(visits[CODING + part.name], codes, part, used[part.name])
            inputs += variables
            columns |= flags
    names = [OUTCOME, *mapping.describe, *(variable.name for variable in inputs)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        what = "a code gives this name to an input, and the mapping to something else; change it there"
        raise InputError([f"name '{name}': {what}" for name in twice], source.name)
    columns[OUTCOME] = visits[OUTCOME]
    if mapping.patient:  # also where it is no input, to be counted
        columns[FIRST_VISIT.name] = visits[FIRST_VISIT.name]
    if mapping.date:
        columns["date"] = day(visits[MOMENT])
    for name, column in mapping.describe.items():
        few = has_few(staged.codes, column)
        columns[name] = _texts(visits[name], staged.codes[column]) if few else visits[name]
    return inputs, visits.select(named(columns))


def _levels(
    staged: Staged, mapping: Mapping, levels: Levels, source: Source, min_rows: int
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return the levels of each coding, those of an earlier file or those chosen by this one, and warnings.

    Raises:
        InputError: the file has a code that the earlier one did not have, where the mapping refuses it.
    """
    used, problems, new_codes = {}, [], []
    for coding in _codings(mapping):
        counted = staged.table.group_by(at=staged.table[CODING + coding.name]).agg(rows=lambda t: t.count())
        found = counted.to_pyarrow().to_pydict()
        codes = staged.codes[coding.column]
        pairs = zip(found["at"], found["rows"], strict=True)
        counts = {codes[at]: rows for at, rows in pairs if at != NONE}
        if coding.name in levels:
            used[coding.name] = tuple(levels[coding.name])
            if told := unseen(counts, used[coding.name], coding):
                (problems if coding.refuses else new_codes).append(told)
        else:
            used[coding.name] = choose_levels(counts, coding, min_rows)
    if problems:
        raise InputError(problems, source.name)
    return used, new_codes


def _texts(positions: ir.IntegerValue, codes: list[str]) -> ir.StringValue:
    """Return the codes at the positions."""
    if not codes:
        return ibis.null("string")
    texts = ibis.literal(codes, "array<string>")
    return ibis.ifelse(positions == NONE, ibis.null("string"), texts[ibis.greatest(positions, 0)])


def _ready(visits: ir.Table, mapping: Mapping) -> dict[str, ir.Value]:
    """Return the column of every input that is not one-hot in the file, by name."""
    found: dict[str, ir.Value] = {name: visits[name] for name in visits.columns}
    for column, names in ((LEVEL, _level_names(mapping)), (GROUP, list(icd10.DIAGNOSIS_RANGES))):
        if column in visits.columns:
            found |= {name: visits[column] == i for i, name in enumerate(names)}
    return found


def _level_names(mapping: Mapping) -> list[str]:
    part = mapping.institution
    return [level.name for level in part.level] + ([part.default] if part.default else [])


def _codings(mapping: Mapping) -> list[Coding]:
    """Return the columns of the file that become one-hot inputs."""
    found = []
    if mapping.subdistrict:
        found.append(_coding("subdistrict", "Sub-district", "residence", mapping.subdistrict))
    for part in mapping.further:
        if part.kind == "categorical":
            found.append(_coding(part.name, part.label or _words(part.name), "further", part))
    return found


def _coding(name: str, label: str, group: str, part: Subdistrict | Further) -> Coding:
    refuses = part.unseen == "stop"
    return Coding(name, label, group, part.column, part.left_out, part.max_levels, part.labels, refuses)


def _inputs(
    mapping: Mapping, codings: list[Coding], ready: collections.abc.Container[str]
) -> collections.abc.Iterator[Variable | Coding]:
    """Yield the inputs in the order of Table 2, a coding where one-hot inputs will stand."""
    words = {level.name: level.label for level in mapping.institution.level}
    words = {v.name: v.label for v in LEVELS} | {name: label for name, label in words.items() if label}
    for variable in STUDY_INPUTS:
        if variable == LEVELS[0]:  # the mapping's own levels take the place of the study's
            for name in _level_names(mapping):
                label = words.get(name) or _words(name)
                yield Variable(name, label, "institution", "binary", code_of=LEVELS[0].code_of)
        elif variable.name == "subdistrict_01":
            yield from (coding for coding in codings if coding.name == "subdistrict")
        elif variable.name == "cost":
            yield replace(variable, unit=mapping.cost.unit)
        elif variable.name in ready and variable not in LEVELS:
            yield variable
    if mapping.patient and mapping.history.first_visit:
        yield FIRST_VISIT
    for part in mapping.further:
        if part.kind == "categorical":
            yield from (coding for coding in codings if coding.name == part.name)
        else:
            yield Variable(part.name, part.label or _words(part.name), "further", part.kind, part.unit)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _ends(out: Path) -> dict[str, set[object]]:
    """Return the smallest and the largest value of each column, as the footers of Parquet files tell them."""
    found: dict[str, set[object]] = {}
    for file in sorted(out.rglob("*.parquet")) if out.is_dir() else [out]:
        footer = pq.read_metadata(file)
        for group in map(footer.row_group, range(footer.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                told = column.statistics
                if told is not None and told.has_min_max:
                    found.setdefault(column.path_in_schema, set()).update((told.min, told.max))
    return found


def _measure(
    table: ir.Table,
    ranges: dict[str, set[object]],
    inputs: list[Variable],
    staged: Staged,
    mapping: Mapping,
) -> tuple[Scaling, dict[str, float], bool]:
    """Return the scaling, what a reader should know, and whether one patient has too many visits."""
    measures: dict[str, ir.Value] = {CROSS: table[OUTCOME].mean(), OLD: (table["age"] > OLD_AGE).sum()}
    if mapping.date:
        measures |= {FIRST_YEAR: table["date"].min().year(), LAST_YEAR: table["date"].max().year()}
    if mapping.patient:
        measures["first visits"] = table[FIRST_VISIT.name].sum()
        measures["most in a year"] = table["visits_this_year"].max() + 1
    for variable in inputs:
        if variable.kind == "numeric":
            column = table[variable.name].cast("float64")
            measures |= {f"mean {variable.name}": column.mean(), f"sd {variable.name}": column.std(how="pop")}
    found = table.aggregate(**measures).to_pyarrow().to_pylist()[0]
    constant = [v.name for v in inputs if len(ranges.get(v.name, ())) < 2]
    means, scales = [], []
    for variable in inputs:
        known = variable.kind == "numeric" and found[f"mean {variable.name}"] is not None
        means.append(found[f"mean {variable.name}"] if known else 0.0)
        scales.append(found[f"sd {variable.name}"] if known and variable.name not in constant else 1.0)
    kinds = tuple(variable.kind for variable in inputs)
    names = tuple(variable.name for variable in inputs)
    scaling = Scaling(names, kinds, tuple(means), tuple(scales), tuple(constant))
    notes = {name: found[name] for name in (CROSS, FIRST_YEAR, LAST_YEAR, OLD) if name in found}
    crowded = False
    if mapping.patient:
        notes["share of first visits"] = found["first visits"] / staged.account.kept
        # To tell all patients apart is dear; nearly all have kept their first visit, and count by it.
        headless = staged.dropped.filter(staged.dropped[FIRST_VISIT.name])
        others = staged.table.semi_join(headless, "patient")["patient"].nunique()
        notes["patients"] = found["first visits"] + int(others.to_pyarrow().as_py())
        years = found[LAST_YEAR] - found[FIRST_YEAR] + 1
        crowded = _is_crowded(staged, found["most in a year"] * years)
    return scaling, notes, crowded


def _is_crowded(staged: Staged, at_most: int) -> bool:
    """Return whether a patient has so many of the visits that it may be no person.

    Args:
        staged: the visits.
        at_most: that no patient has more; to count them all is dear.
    """
    kept = staged.account.kept
    if kept < PLACEHOLDER_VISITS or at_most <= PLACEHOLDER_SHARE * kept:
        return False
    counts = staged.table.group_by("patient").agg(visits=lambda t: t.count())
    return counts["visits"].max().to_pyarrow().as_py() > PLACEHOLDER_SHARE * kept


def _warnings(
    scaling: Scaling, notes: dict[str, float], crowded: bool, mapping: Mapping, used: Levels
) -> list[str]:
    """Return what stops nothing but should be looked at."""
    found = []
    if scaling.constant:
        names = ", ".join(scaling.constant)
        found.append(f"inputs that are the same in every visit, and tell nothing apart: {names}")
    for coding in _codings(mapping):
        codes = used[coding.name]  # the first has no input
        if coding.left_out and codes and codes[0] != coding.left_out:
            what = f"'{codes[0]}' is left out, not '{coding.left_out}' as the mapping says"
            why = "no visit has that code, or the encoding of an earlier file settles it"
            found.append(f"column '{coding.column}': {what}; {why}")
    if not mapping.patient:
        told = mapping.chronic.hypertension or mapping.chronic.diabetes
        chronic = ", and chronic conditions are of this visit only" if told else ""
        found.append(f"no patient column: no history inputs{chronic}")
    elif notes["patients"] == 1:
        found.append("all visits are of one patient; check the patient column")
    elif crowded:
        what = f"one patient has over {PLACEHOLDER_SHARE:.0%} of all visits"
        found.append(f"{what}: if that is no person but stands for the unknown, drop it with a [[filter]]")
    if mapping.history.crossed_before_counts_this_visit:
        found.append("crossed_before counts the visit itself: the outcome leaks into an input")
    return found


def _of_areas(account: Account) -> list[str]:
    """Return a warning where areas are unknown."""
    n_visits = account.notes.get(UNSURE_VISITS, 0)
    if not n_visits:
        return []
    what = f"residence or place reads as unknown (such as 999 or 不详) in {n_visits} visit"
    advice = "compared as if that were an area: leave them out with a [[filter]]"
    return [f"{what}{'s' * (n_visits > 1)}, {advice}"]


def _of_outcome(staged: Staged, notes: dict[str, float], outcome: Outcome) -> list[str]:
    """Return a warning where the outcome is the same in every visit, and why if that can be told."""
    if 0 < notes[CROSS] < 1:
        return []
    if not notes[CROSS]:
        return ["no visit crosses; check [outcome]"]
    if outcome.residence and not _share_a_code(staged.read, outcome.residence, outcome.place):
        what = f"columns '{outcome.residence}' and '{outcome.place}' share no code"
        return [f"every visit crosses; check [outcome]: {what}; both must write areas in the same way"]
    return ["every visit crosses; check [outcome]"]


def _share_a_code(visits: ir.Table, one: str, other: str) -> bool:
    """Return whether two columns have a code in common."""
    codes, others = (visits.select(code=code(visits[name])).distinct() for name in (one, other))
    return bool(codes.semi_join(others, "code").count().to_pyarrow().as_py())
