"""The rules a file must obey, tried in one pass; messages give counts and row numbers, never a value."""

# Ibis annotates less than it accepts (a list of text in `isin`, a number beside an expression):
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from jvade.data.errors import closest

SHOWN_ROWS = 5


@dataclass(frozen=True)
class Rule:
    """One thing that no row may do.

    Args:
        column: the person's name of the column.
        rule: what is wrong with a row that breaks it, for example "not a number".
        advice: what to do about it.
        broken: true for the rows that break it.
    """

    column: str
    rule: str
    advice: str
    broken: ir.BooleanValue

    def message(self, count: int, rows: Sequence[int]) -> str:
        """Return the message for `count` broken rows, of which `rows` are the first."""
        listed = ", ".join(str(row) for row in rows)
        which = "data row" if count == 1 else "data rows" if count <= len(rows) else "first data rows"
        many = f"{count} row{'s' if count > 1 else ''}"
        return f"column '{self.column}': {self.rule} in {many} ({which} {listed}); {self.advice}"


@ibis.udf.agg.builtin(name="min")
def _smallest(values: dt.int64, n: dt.int64) -> dt.Array(dt.int64):  # pyright: ignore
    """Return the n smallest values: DuckDB's min of two arguments, which never holds more than n."""


def usable(kind: dt.DataType) -> bool:
    """Return whether a column of this type holds one plain value per row.

    A moment with a time zone is stored in UTC, where a visit may fall on another day: it is refused.
    """
    return not (kind.is_nested() or kind.is_binary() or (kind.is_timestamp() and kind.timezone))


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
            problems.setdefault(column, f"{named}: missing{near}; the file has: {', '.join(available)}")
        elif not usable(available[column]):
            kind = available[column]
            problems.setdefault(
                column, f"{named}: wrong type, {kind}; write it as text, number or local date"
            )
    return list(problems.values())


def check_rows(
    visits: ir.Table, rules: Mapping[str, Rule], counted: Sequence[str]
) -> tuple[list[str], dict[str, int]]:
    """Try all rules, and count, in one pass over the table.

    Args:
        visits: one row per visit, with its number in the column `row`.
        rules: by the name of the boolean column that is true where the rule is broken.
        counted: names of further boolean columns to count.

    Returns:
        The messages of the broken rules, and the number of true rows for each name in `counted`; the name
        "rows" counts all.
    """
    measures: dict[str, ir.Value] = {"rows": visits.count()}
    measures |= {name: visits[name].sum() for name in (*counted, *rules)}
    for name in rules:
        # Nulls are passed over, so only broken rows compete.
        candidates = ibis.ifelse(visits[name], visits["row"], ibis.null("int64"))
        measures[f"first {name}"] = _smallest(candidates, SHOWN_ROWS)
    found = visits.aggregate(**measures).to_pyarrow().to_pylist()[0]
    broken = [name for name in rules if found[name]]
    problems = [rules[name].message(found[name], found[f"first {name}"]) for name in broken]
    return problems, {name: found[name] or 0 for name in ("rows", *counted)}
