"""Columns of any file as clean text, codes and numbers. Nothing is read yet: these are Ibis expressions."""

# Ibis annotates less than it accepts (a list of text in `isin`, a number beside an expression):
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from jvade.data import dates, icd10
from jvade.data.checks import usable
from jvade.data.engines import Engine, named
from jvade.data.mapping import Codes

#: Taken off both ends of a text: Excel writes a tab before an identity number, Chinese text has wide spaces.
SPACES = " \t\u3000\u00a0"
#: What programs write for a missing value, in any table and in a file of text, which has no other way.
BLANKS = ("", "nan", "NaN")
WORDS = ("NULL", "null", "NA", "N/A", "n/a", "#N/A", "<NA>", "None", "\\N")
#: What people and programs write as the code of an area that is not known: words, signs, and digits in a row
#: (999, 000000), of which two may be an area. Some table may mean one of them, so it is told, not refused.
UNKNOWN_WORDS = ("unknown", "Unknown", "UNKNOWN", "unk", "UNK", "ignorado", "Ignorado", "IGNORADO")
UNKNOWN_SIGNS = ("不详", "不明", "未知", "未填", "未填写", "-", "--", "?", "??")
UNKNOWN = UNKNOWN_WORDS + UNKNOWN_SIGNS + tuple(digit * n for digit in "09" for n in range(3, 13))
LARGEST = 1e30  # of any number; inputs are float32, which ends at 3.4e38
# Engines differ in what else they take for a number: "inf", "1d", "1_000".
NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
WITH_COMMA = NUMBER.replace(r"\.", ",")


def fits(text: ir.StringValue, pattern: str) -> ir.BooleanValue:
    """Return whether a text is as a pattern that ends in $ says; Java's $ lets a line end follow it."""
    return text.re_search(pattern.removesuffix("$") + r"\z")


def tidy(
    table: ir.Table,
    names: Sequence[str],
    text: bool,
    engine: Engine,
    listed: Mapping[str, Collection[str]] | None = None,
    decimal: str = ".",
) -> ir.Table:
    """Return a table with some of its columns rid of the accidents of writing them.

    Text loses the spaces around it; blanks, and the NaN that pandas writes, are missing, and so are `WORDS`
    in a file of text. A column of a kind we cannot use is empty.

    Args:
        table: the table.
        names: of the columns.
        text: whether they come from a file of text, where a gap in a column of whole numbers has turned each
            3 into 3.0: it is 3 again.
        engine: where the table is computed.
        listed: codes that a mapping lists, by name of the column: there they are codes, whatever the word.
        decimal: sign before the decimals of a number that is text.
    """
    listed = listed or {}
    steps = {name: _steps(table[name].type(), text, listed.get(name, ()), decimal) for name in names}
    for i in range(max(map(len, steps.values()), default=0)):
        done = {name: some[i](table[name]) for name, some in steps.items() if len(some) > i}
        # A name for each step: Ibis writes an expression out wherever it is used, and a step uses it often.
        table = engine.view(table.mutate(named(done)))
    return table


def _steps(
    kind: dt.DataType, text: bool, listed: Collection[str], decimal: str
) -> list[Callable[[ir.Value], ir.Value]]:
    """Return what it takes to tidy a column of a type."""
    if not usable(kind):
        return [lambda column: ibis.null("string")]
    if kind.is_floating():
        return [lambda column: column.nullif(float("nan"))]
    if kind.is_string():
        if not text:
            return [_strip, partial(_filled, BLANKS)]
        return [
            _strip,
            partial(_whole, decimal),
            partial(_filled, (*BLANKS, *(word for word in WORDS if word not in listed))),
        ]
    return []


def _strip(value: ir.StringValue) -> ir.StringValue:
    """Take the spaces off both ends; few texts hold one, and the test spares the rest what takes longer."""
    spaced = ibis.or_(*(value.contains(space) for space in SPACES))
    return ibis.ifelse(spaced, value.re_replace(rf"^[{SPACES}]+|[{SPACES}]+\z", ""), value)


def _whole(decimal: str, value: ir.StringValue) -> ir.StringValue:
    """Take the .0 off a whole number, as pandas writes it in a column with gaps."""
    gap = value.endswith(f"{decimal}0") & fits(value, rf"^-?[0-9]+[{decimal}]0$")
    return ibis.ifelse(gap, value.left(value.length() - 2), value)


def _filled(blanks: Sequence[str], value: ir.StringValue) -> ir.StringValue:
    """Make a blank a missing value."""
    return ibis.ifelse(value.isin(blanks), ibis.null("string"), value)


def code(column: ir.Value) -> ir.StringValue:
    """Return a tidy column as codes."""
    if not (column.type().is_floating() or column.type().is_decimal()):
        return column.cast("string")
    # Whole numbers as pandas writes them with gaps, and as a database does: 3.0 and 3.00.
    whole = (column == column.floor()) & (column.abs() < 1e15)
    return ibis.ifelse(whole, column.try_cast("int64").cast("string"), column.cast("string"))


def number(column: ir.Value, decimal: str = ".") -> ir.FloatingValue:
    """Return a tidy column as numbers up to `LARGEST`; anything else is missing.

    Args:
        column: the column.
        decimal: sign before the decimals of a number that is written as text, see `text.Csv`.
    """
    if column.type().is_numeric():
        value = column.cast("float64")
    else:
        text = code(column)
        pattern, point = (WITH_COMMA, text.replace(",", ".")) if decimal == "," else (NUMBER, text)
        value = ibis.ifelse(fits(text, pattern), point, ibis.null("string")).try_cast("float64")
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


def completed_years(birth: ir.DateValue, today: ir.DateValue) -> ir.IntegerValue:
    """Return the birthdays since birth: one counts once it has come; 29 February's comes on 1 March."""
    early = today.month() * 100 + today.day() < birth.month() * 100 + birth.day()
    exact = today.year() - birth.year() - early.cast("int32")
    # To take dates apart is dear. Three days from a birthday, over 130 years, leap days cannot matter.
    years = today.delta(birth, unit="day").cast("float64") / 365.2425
    part = years - years.floor()
    return ibis.ifelse((part > 0.01) & (part < 0.99), years.floor().cast("int32"), exact.cast("int32"))


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
    if column.type().is_boolean():  # read as true and false; the mapping may say 1 and 0
        codes = tuple({"1": "true", "0": "false"}.get(c, c.lower()) for c in codes)
    tests = [value.isin([c for c in codes if c and not c.endswith("*")])]
    tests += [value.startswith(c[:-1]) for c in codes if c.endswith("*")]
    found = ibis.or_(*tests).fill_null(False)
    return found | value.isnull() if "" in codes else found


def meets(visits: ir.Table, when: dict[str, Codes]) -> ir.BooleanValue:
    """Return whether every column of `when` holds one of its codes."""
    return ibis.and_(*(matches(visits[column], codes) for column, codes in when.items()))
