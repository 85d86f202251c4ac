"""The rules a file must obey, tried in one pass; messages give counts and row numbers, never a value."""

# Ibis annotates less than it accepts (a number beside an expression):
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportReturnType=false

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from jvade.data.engines import ROW
from jvade.data.errors import closest
from jvade.data.source import Source
from jvade.data.text import PARTED, parts_thousands, shapes
from jvade.data.variables import Dropped

SHOWN_ROWS = 5
MASK = "broken rules "  # start of the names of the columns that hold, as bits, the rules a row breaks
BITS = 31  # rules in one such column


@dataclass(frozen=True)
class Rule:
    """One thing that no row may do.

    Args:
        column: the person's name of the column.
        rule: what is wrong with a row that breaks it, for example "not a number".
        advice: what to do about it.
        broken: true for the rows that break it.
        drops: whether such rows are dropped and counted, instead of stopping the run.
        early: whether a row that breaks it has no place in a history.
    """

    column: str
    rule: str
    advice: str
    broken: ir.BooleanValue
    drops: bool = False
    early: bool = False

    @property
    def name(self) -> str:
        """Column and rule, in words."""
        return f"column '{self.column}': {self.rule}"

    def message(self, count: int, places: Sequence[str]) -> str:
        """Return the message for `count` broken rows, of which the first stand at `places`."""
        listed = ", ".join(places)
        which = "data row" if count == 1 else "data rows" if count <= len(places) else "first data rows"
        many = f"{count} row{'s' if count > 1 else ''}"
        return f"{self.name} in {many} ({which} {listed}); {self.advice}"


def usable(kind: dt.DataType) -> bool:
    """Return whether a column of this type holds one plain value per row.

    A moment with a time zone is stored in UTC, where a visit may fall on another day: it is refused.
    """
    # Ibis knows neither the type of a column that is empty nor that of nanoseconds with a zone.
    unknown = kind.is_unknown() and "NULL" not in str(kind)
    zoned = kind.is_timestamp() and kind.timezone
    return not (kind.is_nested() or kind.is_binary() or zoned or unknown)


def check_columns(uses: Iterable[tuple[str, str]], available: Mapping[str, dt.DataType]) -> list[str]:
    """Return a message for each column the mapping names that the file does not have, or not usably.

    Args:
        uses: pairs (column, key of the mapping that names it).
        available: type of each column of the file.
    """
    problems: dict[str, str] = {}
    for column, key in uses:
        named = f"column '{column}' (named by '{key}')"
        if column not in available:
            near = closest(column, available)
            known = ", ".join(name for name in available if name != ROW)
            problems.setdefault(column, f"{named}: missing{near}; the file has: {known}")
        elif not usable(available[column]):
            kind = available[column]
            problems.setdefault(
                column, f"{named}: wrong type, {kind}; write it as text, number or local date"
            )
    return list(problems.values())


def masks(rules: Sequence[Rule]) -> dict[str, ir.IntegerValue]:
    """Return the columns that hold which rules each row breaks."""
    found = {}
    for start in range(0, max(len(rules), 1), BITS):
        none = ibis.literal(0, "int32")
        some = [rule.broken for rule in rules[start : start + BITS]]
        bits = [ibis.ifelse(broken, ibis.literal(1 << i, "int32"), none) for i, broken in enumerate(some)]
        # Nearly every row breaks none: the sum is left to those that do.
        together = reduce(add, bits, none)
        found[f"{MASK}{start // BITS}"] = ibis.ifelse(
            ibis.or_(ibis.literal(False), *some), together, none
        ).cast("int32")
    return found


def breaks_any(visits: ir.Table, numbers: Iterable[int]) -> ir.BooleanValue:
    """Return whether a row breaks one of the rules."""
    together: dict[str, int] = {}
    for number in numbers:
        column = f"{MASK}{number // BITS}"
        together[column] = together.get(column, 0) | 1 << number % BITS
    return ibis.or_(ibis.literal(False), *((visits[column] & bits) != 0 for column, bits in together.items()))


@dataclass(frozen=True)
class Outcome:
    """What the checks found.

    Args:
        problems: a message per broken rule that stops the run.
        dropped: what the rules that drop took away; a row counts for the first rule it breaks.
        groups: the further measures, for each combination of broken rules, and whether it is dropped.
    """

    problems: list[str]
    dropped: list[Dropped]
    groups: list[dict[str, Any]]

    def total(self, name: str, kept: bool = True) -> int:
        """Return the sum of a measure, over the kept rows or over all."""
        return sum(group[name] or 0 for group in self.groups if group["kept"] or not kept)


def check_rows(
    visits: ir.Table, rules: Sequence[Rule], source: Source, measures: Mapping[str, ir.Value]
) -> Outcome:
    """Try all rules, and take further measures, in one pass over the table.

    Rows are grouped by the combination of rules they break: of those there are few, and usually one.

    Args:
        visits: one row per visit, with its number as `ROW` and the columns of `masks`.
        rules: in the order of their bits.
        source: where the rows came from.
        measures: what else to measure; each group has its own.
    """
    columns = [name for name in visits.columns if name.startswith(MASK)]
    grouped = visits.group_by(columns).aggregate(rows=visits.count(), first=visits[ROW].min(), **measures)
    groups = grouped.to_pyarrow().to_pylist()
    gone = [i for i, rule in enumerate(rules) if rule.drops and rule.early]
    stopped: dict[int, int] = {}
    dropped: dict[int, tuple[int, int]] = {}
    for group in groups:
        broken = [i for i in range(len(rules)) if group[f"{MASK}{i // BITS}"] >> i % BITS & 1]
        dropping = [i for i in broken if rules[i].drops]
        group["kept"] = not dropping
        if dropping:  # each dropped row counts once
            rows, first = dropped.get(dropping[0], (0, group["first"]))
            dropped[dropping[0]] = rows + group["rows"], min(first, group["first"])
        if not set(broken) & set(gone):  # what is gone before the histories are told breaks no other rule
            for i in set(broken) - set(dropping):
                stopped[i] = stopped.get(i, 0) + group["rows"]
    problems = []
    for i, count in sorted(stopped.items()):  # the run ends here: a look at the first rows costs little
        broken = breaks_any(visits, [i]) & ~breaks_any(visits, gone)
        shown = visits.filter(broken).order_by(ROW).limit(SHOWN_ROWS)[ROW].to_pyarrow().to_pylist()
        problems.append(rules[i].message(count, source.places(shown)))
    table = [
        Dropped(rules[i].name, rows, source.places([first])[0])
        for i, (rows, first) in sorted(dropped.items())
    ]
    return Outcome(problems, table, groups)


def parted_thousands(visits: ir.Table, columns: Iterable[str]) -> list[str]:
    """Return a message for each column of text whose decimal commas seem to part thousands."""
    names = list(dict.fromkeys(columns))
    if not names:
        return []
    counts = {
        f"{i} {j}": visits[name].re_search(pattern).sum().fill_null(0)
        for i, name in enumerate(names)
        for j, pattern in enumerate(shapes(","))
    }
    (found,) = visits.aggregate(**counts).to_pyarrow().to_pylist()
    each = [[found[f"{i} {j}"] for j in range(len(shapes(",")))] for i in range(len(names))]
    return [
        f"column '{name}': a comma in {some[0]} rows; {PARTED}"
        for name, some in zip(names, each, strict=True)
        if parts_thousands(some)
    ]
