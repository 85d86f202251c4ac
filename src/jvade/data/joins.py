"""Side tables, such as institutions and areas, beside the visits; and the columns a mapping names, tidied."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from jvade.data.checks import check_columns, usable
from jvade.data.engines import ROW, Engine, readable
from jvade.data.errors import InputError
from jvade.data.mapping import Join, Mapping, columns_used
from jvade.data.source import Source, open_table
from jvade.data.tidy import category, code, tidy

CATEGORY = "jvade category of "  # start of the names of the columns of ICD-10 categories
UNLISTED = "jvade unlisted in "  # start of the names of the flags of codes that a side table does not list
KEY = "jvade key of "  # start of the names of the columns that a side table is found by


def gather(source: Source, mapping: Mapping, engine: Engine) -> tuple[ir.Table, list[str], set[str]]:
    """Return every column a mapping names, tidied once; what is wrong with the columns; and which are.

    A column that is missing or of no use is empty, so that it does not hide what is wrong with the others.
    Diagnosis columns are joined by their categories, and each side table by a flag, true where it does not
    list a visit's code.

    Raises:
        InputError: the file of a side table cannot be read, or holds a key twice.
    """
    uses, visits = columns_used(mapping), source.table
    beside = tuple(f"{join.name}." for join in mapping.join)
    types = {name: kind for name, kind in source.types.items() if not name.startswith(beside)}
    own = {name: tidy(visits[name], source.text) for name, _ in uses if name in types}
    sides: dict[str, ir.Table] = {}
    for join in mapping.join:
        wanted = {name.removeprefix(f"{join.name}.") for name, _ in uses if name.startswith(f"{join.name}.")}
        sides[join.name], kinds = _side(join, sorted(wanted), engine)
        types |= {f"{join.name}.{name}": kind for name, kind in kinds.items()}
    problems = check_columns(uses, types)
    absent = {name for name, _ in uses if name not in types or not usable(types[name])}
    table = engine.view(visits.select(ROW, **own))
    for join in mapping.join:
        side = sides[join.name]
        renamed = {f"{join.name}.{name}": side[name] for name in side.columns}
        side = engine.view(side.select(**{KEY + join.name: code(side[join.key])}, **renamed))
        if join.on in table.columns:
            table = table.left_join(side, code(table[join.on]) == side[KEY + join.name])
            unlisted = table[join.on].notnull() & table[KEY + join.name].isnull()
            table = table.mutate(**{UNLISTED + join.name: unlisted})
        else:
            table = table.mutate(**{UNLISTED + join.name: ibis.literal(False)})
            absent |= {name for name, _ in uses if name.startswith(f"{join.name}.")}
    columns: dict[str, ir.Value] = {ROW: table[ROW]}
    for name, _ in uses:
        columns[name] = table[name] if name in table.columns else ibis.null("string")
    diagnosis = mapping.diagnosis
    for name in (diagnosis.principal, *diagnosis.others) if diagnosis else ():
        columns[CATEGORY + name] = category(columns[name])
    columns |= {UNLISTED + join.name: table[UNLISTED + join.name] for join in mapping.join}
    return engine.view(table.select(**columns)), problems, absent


def _side(join: Join, wanted: list[str], engine: Engine) -> tuple[ir.Table, dict[str, dt.DataType]]:
    """Open a side table, once its keys are known to be there, each one once; return the types it has, too."""
    source = open_table(join.file, engine, [join.key, *wanted])
    table = source.table
    problems = check_columns([(join.key, f"join '{join.name}'.key")], source.types)
    if not problems:
        columns = {name: tidy(table[name], source.text) for name in table.columns if name != ROW}
        table = engine.view(table.select(**columns))
        with readable(source.name, engine, source.text):
            keys = table.filter(table[join.key].notnull())
            rows = keys.group_by(join.key).agg(rows=lambda t: t.count())
            count = rows.filter(lambda t: t.rows > 1).count().to_pyarrow().as_py()
        if count:
            what = f"column '{join.key}': {count} codes stand in more than one row"
            problems.append(f"{what}; a side table has one row for each")
    if problems:
        raise InputError(problems, source.name)
    return table, source.types
