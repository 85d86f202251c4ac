"""From a file of visits to the inputs of the study (section 2.1, Tables 1 and 2), history included.

Filters come first, then history, then the visits without a cost leave: a visit without a cost is still a
visit that a later one can look back on.
"""

# Ibis annotates less than it accepts (a list of text in `isin`, a number beside an expression):
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false

import collections.abc
from dataclasses import replace
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from jvade.data import icd10
from jvade.data.checks import check_columns, check_rows
from jvade.data.errors import InputError
from jvade.data.mapping import Mapping, columns_used
from jvade.data.onehot import Coding, one_hot
from jvade.data.parse import CODING, ROW, Parser, clean, passes
from jvade.data.source import open_table, readable
from jvade.data.variables import FIRST_VISIT, LEVELS, OUTCOME, STUDY_INPUTS, Account, Variable, VisitTable

Levels = collections.abc.Mapping[str, tuple[str, ...]]


def read_visits(path: Path | str, mapping: Mapping, levels: Levels | None = None) -> VisitTable:
    """Read a file of visits.

    Args:
        path: .csv, .csv.gz or .parquet; one row per visit.
        mapping: which column plays which part.
        levels: `VisitTable.levels` of an earlier file, to get exactly the inputs it had.

    Returns:
        The visits that passed the filters and have a cost, in the order of the file.

    Raises:
        InputError: the file cannot be read or breaks a rule; lists everything that is wrong with it.
    """
    path = Path(path)
    raw = open_table(path)
    visits, account = _admit(raw, mapping, path)
    table = _with_history(visits, mapping)
    with readable(path):
        frame = _to_pandas(table.filter(table["cost"].notnull()).order_by("row"))
    return _finish(frame, mapping, account, levels or {})


def _admit(raw: ir.Table, mapping: Mapping, path: Path) -> tuple[ir.Table, Account]:
    """Return the typed visits that pass the filters, once the whole file has passed the checks."""
    problems = check_columns(columns_used(mapping), raw.schema())
    tidy = clean(raw, mapping)
    parser = Parser(tidy)
    parser.read(mapping)
    rules = {f"rule {i}": rule for i, rule in enumerate(parser.rules) if rule.column in raw.columns}
    kept = passes(tidy, mapping)
    visits = tidy.select(
        row=tidy[ROW],
        **parser.values,
        **{"is kept": kept, "no cost": kept & tidy[mapping.cost.column].isnull()},
        **{name: kept & rule.broken for name, rule in rules.items()},
    )
    with readable(path):
        broken, counts = check_rows(visits, rules, ["is kept", "no cost"])
    problems += broken
    if counts["rows"] == 0:
        problems.append("the file has a header but no rows; export the table again")
    elif counts["is kept"] == 0 and not problems:
        problems.append(f"none of the {counts['rows']} rows passes the filters; check each [[filter]]")
    elif 0 < counts["is kept"] == counts["no cost"] and mapping.cost.column in raw.columns:
        blank = f"column '{mapping.cost.column}': a blank in all {counts['is kept']} rows"
        problems.append(f"{blank}; name the column that holds the cost")
    if problems:
        raise InputError(problems, path.name)
    account = Account(
        rows_read=counts["rows"],
        filtered_out=counts["rows"] - counts["is kept"],
        missing_cost=counts["no cost"],
        kept=counts["is kept"] - counts["no cost"],
    )
    return visits.filter(visits["is kept"]).select("row", *parser.values), account


def _with_history(visits: ir.Table, mapping: Mapping) -> ir.Table:
    """Add what earlier visits of the same patient say, or nothing where patients are not known."""
    if not mapping.patient:
        return visits
    # Visits of one day need an order too: by visit where the mapping names it, else as in the file.
    order = ["visit moment", *(["visit number", "visit text"] if mapping.visit else []), "row"]
    day, year = visits["visit moment"].date(), visits["visit moment"].year()
    patient = ibis.window(group_by="patient", order_by=order)
    this_year = ibis.window(group_by=[visits["patient"], year], order_by=order)
    earlier = ibis.window(group_by="patient", order_by=order, preceding=(None, 1))
    so_far = ibis.window(group_by="patient", order_by=order, preceding=None, following=0)
    crossed = so_far if mapping.history.crossed_before_counts_this_visit else earlier
    history = {
        "visits_this_year": ibis.row_number().over(this_year),
        "days_since_last_visit": day.delta(day.lag().over(patient), unit="day"),
        "crossed_before": visits[OUTCOME].any().over(crossed).fill_null(False),
        FIRST_VISIT.name: ibis.row_number().over(patient) == 0,
    }
    for name in icd10.CHRONIC_RANGES:
        if getattr(mapping.chronic, name) == "from diagnosis":
            history[name] = visits[name].any().over(so_far)
    return visits.mutate(**history)


def _to_pandas(table: ir.Table) -> pd.DataFrame:
    """Run the expression: numbers as float32, flags (not the outcome) as uint8, texts as categories."""
    narrow = {}
    for name, kind in table.schema().items():
        if kind.is_boolean() and name != OUTCOME:
            narrow[name] = table[name].cast("uint8")
        elif kind.is_numeric() and name != "row":
            narrow[name] = table[name].cast("float32")
    arrow = table.mutate(**narrow).to_pyarrow()
    for i, kind in enumerate(table.schema().values()):
        if kind.is_string():  # categories take a fraction of the memory
            arrow = arrow.set_column(i, arrow.schema.names[i], arrow.column(i).dictionary_encode())
    return arrow.to_pandas(split_blocks=True, self_destruct=True)


def _inputs(mapping: Mapping, frame: pd.DataFrame) -> collections.abc.Iterator[Variable | Coding]:
    """Yield the inputs in the order of Table 2, a coding where one-hot inputs will stand."""
    labels = {level.name: level.label for level in mapping.institution.level}
    if mapping.institution.default:
        labels[mapping.institution.default] = ""
    for variable in STUDY_INPUTS:
        if variable == LEVELS[0]:  # the mapping's own levels take the place of the study's
            yield from (_level(name, label) for name, label in labels.items())
        elif variable.name == "subdistrict_01" and mapping.subdistrict:
            part = mapping.subdistrict
            yield Coding("subdistrict", "Sub-district", "residence", part.left_out, part.max_levels)
        elif variable.name == "cost":
            yield replace(variable, unit=mapping.cost.unit)
        elif variable.name in frame and variable not in LEVELS:
            yield variable
    if mapping.patient and mapping.history.first_visit:
        yield FIRST_VISIT
    for part in mapping.further:
        label = part.label or _words(part.name)
        if part.kind == "categorical":
            yield Coding(part.name, label, "further", part.left_out, part.max_levels, part.labels)
        else:
            yield Variable(part.name, label, "further", part.kind, part.unit)


def _level(name: str, label: str) -> Variable:
    known = {variable.name: variable.label for variable in LEVELS}
    return Variable(name, label or known.get(name, _words(name)), "institution", "binary")


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _finish(frame: pd.DataFrame, mapping: Mapping, account: Account, levels: Levels) -> VisitTable:
    """Expand the codings and put together inputs, extras and account."""
    inputs: list[Variable] = []
    columns: dict[str, pd.Series] = {}
    used: dict[str, tuple[str, ...]] = {}
    for part in _inputs(mapping, frame):
        if isinstance(part, Variable):
            inputs.append(part)
            columns[part.name] = frame[part.name]
        else:
            chosen = levels.get(part.name)
            variables, flags, used[part.name] = one_hot(frame[CODING + part.name], part, chosen)
            inputs += variables
            columns |= flags
    extras = {name: frame[name] for name in ("residence", "place", "institution") if name in frame}
    if mapping.date:
        extras["date"] = frame["visit moment"].dt.normalize()
    columns |= {OUTCOME: frame[OUTCOME], "row": frame["row"], **extras}
    if mapping.patient:
        columns["patient"] = frame["patient"].cat.codes.astype("int32")
    whole = pd.DataFrame(columns)
    account = replace(account, notes=_notes(frame, mapping), warnings=_warnings(whole, inputs, mapping))
    return VisitTable(whole, tuple(inputs), tuple(extras), account, used)


def _notes(frame: pd.DataFrame, mapping: Mapping) -> dict[str, float]:
    """Return counts and shares that a reader of the results should know."""
    notes: dict[str, float] = {"share of visits that cross": float(np.mean(frame[OUTCOME].to_numpy()))}
    if mapping.patient:
        notes["patients"] = len(frame["patient"].unique())
        notes["share of first visits"] = float(np.mean(frame[FIRST_VISIT.name].to_numpy()))
    if mapping.diagnosis:
        notes["principal diagnosis codes that are not ICD-10"] = int(frame["odd code"].sum())
    levels = [level.name for level in mapping.institution.level]
    if levels and not mapping.institution.default:
        notes["visits of no institution level"] = int((frame[levels].sum(axis=1) == 0).sum())
    for part in mapping.further:
        if part.kind == "numeric":
            notes[f"visits without {part.name}"] = int(frame[part.name].isna().sum())
    return notes


def _warnings(frame: pd.DataFrame, inputs: list[Variable], mapping: Mapping) -> list[str]:
    """Return what stops nothing but should be looked at."""
    found = []
    constant = [v.name for v in inputs if len(frame[v.name].dropna().unique()) < 2]
    if constant:
        found.append(
            f"inputs that are the same in every visit, and tell nothing apart: {', '.join(constant)}"
        )
    if not mapping.patient:
        found.append("no patient column: no history inputs, and chronic conditions are of this visit only")
    elif len(frame["patient"].unique()) == 1:
        found.append("all visits are of one patient; check the patient column")
    return found
