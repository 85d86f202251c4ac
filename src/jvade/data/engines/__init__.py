"""Where tables are computed: DuckDB inside this process, or a Spark of the user's."""

import csv
import errno
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import ibis.expr.types as ir
import pyarrow as pa

from jvade.data import temporary
from jvade.data.engines.on_duckdb import DuckDB
from jvade.data.engines.on_spark import Spark
from jvade.data.engines.settings import RESERVED, ROW, EngineSettings
from jvade.data.errors import InputError, out_of_reach
from jvade.data.text import UTF8, Csv

__all__ = [
    "RESERVED",
    "ROW",
    "DuckDB",
    "Engine",
    "EngineSettings",
    "Spark",
    "connect",
    "named",
    "readable",
    "scratch",
]
#: What DuckDB and Arrow say of a text.
NOT_UTF8 = re.compile(r"not utf-8 encoded|invalid utf-?8", re.IGNORECASE)
MEMORY = re.compile(r"\d+(\.\d+)?\s*[KMGT]i?B", re.IGNORECASE)
Engine = DuckDB | Spark
#: What the system says of a file that may be whole: it may not be read, or its disk or share is gone.
OUT_OF_REACH = tuple(
    os.strerror(code) for code in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EIO, errno.ESTALE)
)


@contextmanager
def scratch(settings: EngineSettings | None = None) -> Iterator[Path]:
    """Make a folder for what need not stay; it is gone afterwards.

    Raises:
        InputError: the settings make no sense.
    """
    settings = settings or EngineSettings()
    if not MEMORY.fullmatch(settings.memory):
        raise InputError([f"--tables.memory: expected a size such as 800MB or 4GB, got '{settings.memory}'"])
    if settings.temp and not settings.temp.is_dir():
        raise InputError(["--tables.temp: there is no such folder; make it, or leave the flag out"])
    if settings.engine != "duckdb" and not re.match(r"local(\[|$)|spark://|sc://|yarn", settings.engine):
        known = "duckdb, local[4], spark://HOST:7077 or sc://HOST:15002"
        raise InputError([f"--tables.engine: expected {known}, got '{settings.engine}'"])
    with temporary.folder(settings.temp) as folder:
        yield folder


@contextmanager
def connect(settings: EngineSettings | None = None) -> Iterator[Engine]:
    """Start the engine; what it spilled to disk is gone afterwards.

    Raises:
        InputError: the settings make no sense, or there is no such engine.
    """
    settings = settings or EngineSettings()
    with scratch(settings) as temp:
        try:
            engine = DuckDB(settings, str(temp)) if settings.engine == "duckdb" else Spark(settings)
        except duckdb.Error:
            raise InputError([f"--tables.memory: there is no room for {settings.memory}"]) from None
        try:
            engine.scratch = temp
            yield engine
        finally:
            engine.close()


@contextmanager
def readable(
    name: str,
    engine: Engine | None,
    text: bool,
    written: Csv = UTF8,
    parts: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Turn whatever the engine says about a broken file into an `InputError`.

    It may quote the broken line, which may be a patient's, so its message is not passed on.

    Args:
        name: of the file, for the message.
        engine: what reads it; None where none does.
        text: whether it is CSV.
        written: how a CSV file is.
        parts: names of several files, by what the engine calls them: which it is, the engine says.
    """
    failures = (
        *(engine.errors if engine else ()),
        pa.ArrowException,
        OSError,
        EOFError,
        UnicodeError,
        csv.Error,
        zlib.error,
    )
    try:
        yield
    except failures as error:
        said, adjustable = str(error), engine is not None and engine.adjustable
        if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)):
            advice = "raise --tables.memory, or give --tables.temp a folder with more room"
            what = f"the table does not fit; {advice if adjustable else 'give a part of it'}"
        elif "no space left" in said.lower():
            advice = ", or give --tables.temp a folder with more" if adjustable else ""
            what = f"the disk is full; make room{advice}"
        elif why := _refusal(error):
            what = out_of_reach(why)
        else:
            line = re.search(r"CSV Error on Line: (\d+)", said)
            where = f" at line {line[1]}" if line else ""
            if isinstance(error, UnicodeError) or NOT_UTF8.search(said):
                what = _another_charset(written, where, engine)
            elif text:
                what = (
                    f"the file cannot be read as CSV{where}; a line has more or fewer fields than the header"
                    ", a quote is left open, or the file is cut short"
                )
            else:
                why = "it is cut short, damaged or no Parquet: write it again"
                what = f"the file cannot be read as Parquet; {why}"
        name = next((part for file, part in (parts or {}).items() if file in said), name)
        raise InputError([what], name) from None


def charset_of(engine: Engine | None) -> str:
    """Return what says the encoding of a file: a mapping, or a flag where no engine reads it."""
    return "--csv.charset" if engine is None else "'charset' of the mapping"


def _another_charset(written: Csv, where: str, engine: Engine | None) -> str:
    """Return what to say of a text that is in another encoding."""
    if written.codec != UTF8.codec:
        advice = f"correct {charset_of(engine)}; a file in UTF-8 needs none"
        return f"the text is not {written.charset}{where}; {advice}"
    in_mapping = 'write csv = { charset = "gb18030" } or the like at the top of the mapping'
    advice = "give --csv.charset gb18030 or the like" if engine is None else in_mapping
    return f"the text is not UTF-8{where}; save the file as UTF-8, or {advice}"


def _refusal(error: BaseException) -> str:
    """Return what the system says where it gives no file, "" where a file is what is wrong."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    if isinstance(error, duckdb.IOException):
        return next((why for why in OUT_OF_REACH if why.lower() in str(error).lower()), "")
    return ""


def named(columns: Mapping[str, ir.Value]) -> list[ir.Value]:
    """Return columns under their names; as keywords a person's could clash with Ibis's own ("self")."""
    return [column.name(name) for name, column in columns.items()]
