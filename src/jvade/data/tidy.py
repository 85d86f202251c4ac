"""Columns of any file as clean text, codes and numbers. Nothing is read yet: these are Ibis expressions."""

# Ibis annotates less than it accepts (a list of text in `isin`, a number beside an expression):
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from jvade.data import dates, icd10
from jvade.data.checks import usable
from jvade.data.mapping import Codes

LARGEST = 1e30  # of any number; inputs are float32, which ends at 3.4e38
# Engines differ in what else they take for a number: "inf", "1d", "1_000".
NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"


@ibis.udf.scalar.builtin(name="trim")
def _trim(text: dt.string) -> dt.string:  # pyright: ignore[reportInvalidTypeForm]
    """Return a text without the spaces around it; Ibis's own strip takes three times as long."""


def fits(text: ir.StringValue, pattern: str) -> ir.BooleanValue:
    """Return whether a text is as a pattern that ends in $ says; Java's $ lets a line end follow it."""
    return text.re_search(pattern.removesuffix("$") + r"\z")


def tidy(column: ir.Value, text: bool) -> ir.Value:
    """Return a column without the accidents of writing it.

    Text loses the spaces around it; blanks, and the NaN that pandas writes, are missing. A column of a kind
    we cannot use is empty.

    Args:
        column: the column.
        text: whether it comes from a file of text, where a gap in a column of whole numbers has turned each
            3 into 3.0: it is 3 again.
    """
    kind = column.type()
    if not usable(kind):
        return ibis.null("string")
    if kind.is_floating():
        return column.nullif(float("nan"))
    if not (kind.is_string() or kind.is_boolean()):
        return column
    value = _trim(column.cast("string"))
    value = ibis.ifelse(value.isin(["", "nan", "NaN"]), ibis.null("string"), value)
    if not text:
        return value
    # Few texts end so; the test spares the rest a regular expression.
    gap = value.endswith(".0") & fits(value, r"^-?[0-9]+\.0$")
    return ibis.ifelse(gap, value.left(value.length() - 2), value)


def code(column: ir.Value) -> ir.StringValue:
    """Return a tidy column as codes."""
    if not (column.type().is_floating() or column.type().is_decimal()):
        return column.cast("string")
    # Whole numbers as pandas writes them with gaps, and as a database does: 3.0 and 3.00.
    whole = (column == column.floor()) & (column.abs() < 1e15)
    return ibis.ifelse(whole, column.try_cast("int64").cast("string"), column.cast("string"))


def number(column: ir.Value) -> ir.FloatingValue:
    """Return a tidy column as numbers up to `LARGEST`; anything else is missing."""
    if column.type().is_numeric():
        value = column.cast("float64")
    else:
        text = code(column)
        value = ibis.ifelse(fits(text, NUMBER), text, ibis.null("string")).try_cast("float64")
    return ibis.ifelse(value.isnan() | (value.abs() > LARGEST), ibis.null("float64"), value)


def moment(column: ir.Value, form: str) -> ir.DateValue | ir.TimestampValue:
    """Return a tidy column as dates, with the time of day where it has one; anything else is missing.

    Args:
        column: the column.
        form: how a text writes a date, see `dates.pattern`; "" is 2024-05-31.
    """
    if column.type().is_date() or column.type().is_timestamp():
        return column
    text = code(column)
    if not form:
        return ibis.ifelse(fits(text, dates.ISO), text, ibis.null("string")).try_cast("timestamp")
    pattern, group = dates.pattern(form)
    piece = {part: text.re_extract(pattern, number) for part, number in group.items()}
    written = piece["%Y"] + "-" + piece["%m"] + "-" + piece["%d"]
    times = [piece[part] for part in dates.TIME if part in piece]
    for i, part in enumerate([*times, *(["00", "00"] if times else [])][:3]):
        written = written + (":" if i else " ") + part
    return ibis.ifelse(fits(text, pattern), written, ibis.null("string")).try_cast("timestamp")


def day(moment: ir.DateValue | ir.TimestampValue) -> ir.DateValue:
    """Return the day of a moment."""
    return moment if moment.type().is_date() else moment.date()


def category(column: ir.Value) -> ir.StringValue:
    """Return the three-character ICD-10 category of a tidy column, missing where it is none; as `icd10`."""
    value = code(column)
    plain = icd10.plain(value)
    # Most codes are plain as they stand; the test spares them the tidying.
    return ibis.cases(
        (fits(value, icd10.PATTERN), value.left(3)), (fits(plain, icd10.PATTERN), plain.left(3))
    )


def matches(column: ir.Value, codes: Codes) -> ir.BooleanValue:
    """Return whether a tidy column holds one of the codes; "1*" is any that begins with 1, "" a blank."""
    if column.type().is_integer() and all(c.isdecimal() and str(int(c)) == c for c in codes):
        return column.isin([int(c) for c in codes]).fill_null(False)
    value = code(column)
    tests = [value.isin([c for c in codes if c and not c.endswith("*")])]
    tests += [value.startswith(c[:-1]) for c in codes if c.endswith("*")]
    found = ibis.or_(*tests).fill_null(False)
    return found | value.isnull() if "" in codes else found


def meets(visits: ir.Table, when: dict[str, Codes]) -> ir.BooleanValue:
    """Return whether every column of `when` holds one of its codes."""
    return ibis.and_(*(matches(visits[column], codes) for column, codes in when.items()))
