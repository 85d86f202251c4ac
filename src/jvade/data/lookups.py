"""What the codes in a column say, in side tables too: worked out once for each code, looked up by the rows.

Millions of rows hold a few thousand codes. Text is dear to carry, to compare and to take apart; here it turns
into small numbers and flags before the rows are typed.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from jvade.data import icd10
from jvade.data.checks import check_columns, usable
from jvade.data.engines import ROW, Engine, named, readable
from jvade.data.errors import InputError
from jvade.data.mapping import Join, Mapping, codes_listed, columns_used
from jvade.data.source import Source, open_table
from jvade.data.text import Csv
from jvade.data.tidy import category, code, tidy

NONE = -1  # position of a blank, and of what belongs to no group or level
MANY = 1000  # codes of a column that only describes visits: with more it stays text
# Names of columns beside a person's own begin with a word that theirs may not begin with.
POSITION = "jvade position in "  # among the sorted codes of a column
UNLISTED = "jvade unlisted in "  # whether a side table does not list a code
SHOWN = "jvade {condition} shown by {column}"
GROUP, ODD = "jvade diagnosis group", "jvade odd diagnosis"
VALUE, RAW, KEY, CATEGORY = "jvade value of ", "jvade raw ", "jvade key of ", "jvade category of "


@dataclass(frozen=True)
class Columns:
    """The columns a mapping names, tidied, and what their codes say.

    Args:
        table: a row per visit, with its number as `ROW`. A column that is missing or of no use is empty, so
            that it does not hide what is wrong with the others. Each side table adds a flag, true where it
            does not list a visit's code. Each column that becomes one-hot inputs or describes visits adds
            the position of the visit's code, `NONE` for a blank; the principal diagnosis its group in Table
            2, and whether it is no ICD-10 code; each diagnosis column the chronic conditions it shows.
        codes: the sorted codes of each column that has positions.
        problems: what is wrong with the columns.
        absent: names of the columns that are empty.
    """

    table: ir.Table
    codes: dict[str, list[str]]
    problems: list[str]
    absent: set[str]


def has_few(codes: dict[str, list[str]], column: str) -> bool:
    """Return whether positions stand for the codes of a column that describes visits; else it stays text."""
    return column in codes and len(codes[column]) <= MANY


class Roles:
    """The columns whose codes say something.

    Attributes:
        coded: they become one-hot inputs.
        listed: they do, or they describe visits.
        principal: the principal diagnosis.
        diagnoses: all diagnoses.
        codes: that the mapping lists, by column.
    """

    def __init__(self, mapping: Mapping) -> None:
        self.coded = {part.column for part in mapping.further if part.kind == "categorical"}
        self.coded |= {mapping.subdistrict.column} if mapping.subdistrict else set()
        self.listed = self.coded | set(mapping.describe.values())
        self.principal = {mapping.diagnosis.principal} if mapping.diagnosis else set()
        self.diagnoses = self.principal | set(mapping.diagnosis.others if mapping.diagnosis else ())
        self.codes = codes_listed(mapping)

    def nothing(self, name: str) -> dict[str, ir.Value]:
        """Return what a column says whose codes are all blank."""
        found: dict[str, ir.Value] = {}
        if name in self.listed:
            found[POSITION + name] = ibis.literal(NONE, "int16")
        if name in self.diagnoses:
            found |= dict.fromkeys(_conditions(ibis.null("string"), name), ibis.literal(False))
        if name in self.principal:
            found |= {GROUP: ibis.literal(NONE, "int8"), ODD: ibis.literal(False)}
        return found


def gather(source: Source, mapping: Mapping, engine: Engine) -> Columns:
    """Gather every column a mapping names, and what their codes say.

    Raises:
        InputError: the file of a side table cannot be read, or holds a key twice.
    """
    uses, roles = columns_used(mapping), Roles(mapping)
    names = list(dict.fromkeys(name for name, _ in uses))
    beside = tuple(f"{join.name}." for join in mapping.join)
    types = {name: kind for name, kind in source.types.items() if not name.startswith(beside)}
    own = [name for name in names if name in types]
    leader = {name: name for name in own if usable(types[name])}  # of each column, one of the visits
    sides: list[tuple[str | None, Join, ir.Table]] = []  # each behind its leader
    for join in mapping.join:
        side, kinds = _side(join, mapping.written(join.name), names, roles, engine)
        sides.append((leader.get(join.on), join, side))
        types |= kinds
        if join.on in leader:
            leader |= {name: leader[join.on] for name in names if name in kinds and usable(kinds[name])}
    codes: dict[str, list[str]] = {}
    raw = {RAW + name: source.table[name] for name in own}
    rows = tidy(source.table.select(ROW, *own, **raw), own, source.text, engine, roles.codes, source.decimal)
    for column in (name for name in own if name in leader):
        led = [name for name in names if leader.get(name) == column]
        joins = [(join, side) for led_by, join, side in sides if led_by == column]
        if joins or (roles.listed | roles.diagnoses) & set(led):
            told, known = _tell(source, column, led, joins, roles, engine)
            rows = rows.left_join(told, rows[RAW + column] == told[VALUE + column])
            codes |= known
    columns = {name: rows[name] if name in leader else ibis.null("string") for name in names}
    columns |= {UNLISTED + join.name: ibis.literal(False) for join in mapping.join}
    for name in names:
        if name not in leader:
            columns |= roles.nothing(name)
            codes[name] = []
    for name in rows.columns:
        if name == GROUP or name.startswith(POSITION):
            columns[name] = ibis.coalesce(rows[name], NONE)
        elif name.startswith("jvade ") and not name.startswith((RAW, VALUE, ROW)):
            columns[name] = rows[name]
    table = engine.view(rows.select(named(columns | {ROW: rows[ROW]})))
    return Columns(table, codes, check_columns(uses, types), set(names) - set(leader))


def _side(
    join: Join, written: Csv, names: Sequence[str], roles: Roles, engine: Engine
) -> tuple[ir.Table, dict[str, dt.DataType]]:
    """Open a side table, once its keys are known to be there, each one once.

    Returns:
        Its key as a code, and of its columns, under their names in the mapping, those of `names`; and the
        types of all its columns.
    """
    start = f"{join.name}."
    wanted = [name.removeprefix(start) for name in names if name.startswith(start)]
    source = open_table(join.file, engine, [join.key, *wanted], written)
    problems = check_columns([(join.key, f"join '{join.name}'.key")], source.types)
    if problems:
        raise InputError(problems, source.name)
    held = [name for name in source.types if name in (join.key, *wanted)]
    codes = {name.removeprefix(start): codes for name, codes in roles.codes.items() if name.startswith(start)}
    codes[join.key] = codes.get(join.key, set()) | roles.codes.get(join.on, set())
    table = tidy(source.table.select(*held), held, source.text, engine, codes, source.decimal)
    with readable(source.name, engine, source.text):
        keys = table.filter(table[join.key].notnull())
        rows = keys.group_by(join.key).agg(rows=lambda t: t.count())
        count = rows.filter(lambda t: t.rows > 1).count().to_pyarrow().as_py()
    if count:
        what = f"column '{join.key}': {count} codes stand in more than one row"
        raise InputError([f"{what}; a side table has one row for each"], source.name)
    columns = {start + name: table[name] for name in wanted if name in held}
    side = engine.view(table.select(named({KEY + join.name: code(table[join.key])} | columns)))
    return side, {start + name: kind for name, kind in source.types.items()}


def _tell(
    source: Source,
    column: str,
    led: Sequence[str],
    joins: Sequence[tuple[Join, ir.Table]],
    roles: Roles,
    engine: Engine,
) -> tuple[ir.Table, dict[str, list[str]]]:
    """Return what each value of a column of the visits says.

    Args:
        source: the visits.
        column: name of the column.
        led: it, and the columns of side tables that it leads to.
        joins: the side tables that it leads to.
        roles: the columns whose codes say something.
        engine: where the table is computed.

    Returns:
        A row per value, and the sorted codes of the columns of `led` that have positions.
    """
    # Values are told apart as they were read: to tidy those of all rows takes longer.
    values = engine.stage(source.table.select(**{VALUE + column: source.table[column]}).distinct())
    known = values.mutate(values[VALUE + column].name(column))
    known = tidy(known, [column], source.text, engine, roles.codes, source.decimal)
    known = known.mutate(code(known[column]).name(column))
    for join, side in joins:
        known = engine.view(known)
        known = known.left_join(side, code(known[join.on]) == side[KEY + join.name])
        unlisted = known[join.on].notnull() & known[KEY + join.name].isnull()
        known = known.mutate(**{UNLISTED + join.name: unlisted}).drop(KEY + join.name)
    found = {CATEGORY + name: category(code(known[name])) for name in led if name in roles.diagnoses}
    known = engine.stage(known.mutate(**found))
    says: dict[str, ir.Value] = {}
    codes: dict[str, list[str]] = {}
    for name in led:
        text = code(known[name])
        if name in roles.listed:
            texts = known.select(text=text).distinct().to_pyarrow().column(0).drop_null().to_pylist()
            if name in roles.coded or len(texts) <= MANY:
                codes[name] = sorted(texts)
                rank = ibis.ifelse(text.isnull(), NONE, ibis.dense_rank().over(order_by=text))
                says[POSITION + name] = rank.cast("int16" if len(texts) < 2**15 else "int32")
        if name in roles.diagnoses:
            says |= _conditions(known[CATEGORY + name], name)
        if name in roles.principal:
            says[GROUP] = _group(known[CATEGORY + name])
            says[ODD] = text.notnull() & known[CATEGORY + name].isnull()
    kept = [name for name in known.columns if name != column and not name.startswith(CATEGORY)]
    return engine.stage(known.select(*kept, **says)), codes


def _group(category: ir.StringValue) -> ir.IntegerValue:
    """Return the position of the diagnosis group."""
    groups = enumerate(icd10.DIAGNOSIS_RANGES.values())
    cases = ((icd10.in_ranges(category, ranges), i) for i, ranges in groups)
    return ibis.cases(*cases, else_=NONE).cast("int8")


def _conditions(category: ir.StringValue, column: str) -> dict[str, ir.Value]:
    """Return whether a code shows each chronic condition."""
    return {
        SHOWN.format(condition=name, column=column): icd10.in_ranges(category, ranges)
        for name, ranges in icd10.CHRONIC_RANGES.items()
    }
