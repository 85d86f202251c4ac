"""What the commands around tables do: `jvade features`, `jvade simulate`, `jvade mapping init`."""

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from jvade import manifest
from jvade.analysis import fidelity
from jvade.data import draft, published
from jvade.data.district import tables
from jvade.data.engines import EngineSettings, scratch
from jvade.data.errors import InputError
from jvade.data.features import read_visits, write_features
from jvade.data.mapping import read_mapping
from jvade.data.matrix import Encoding
from jvade.data.source import check_out
from jvade.data.text import Csv
from jvade.report.folder import RunFolder
from jvade.report.terminal import Terminal


@dataclass(frozen=True)
class FeaturesSettings:
    """Turn a table of visits into the inputs of the study, as Parquet.

    Args:
        visits: your visit table: CSV, Parquet, or a folder of parts.
        mapping: TOML file that says which of its columns plays which part; `jvade mapping init` drafts one.
        out: folder of the results: features.parquet (original units; a row per visit, for you alone),
            encoding.json (order, categories and scaling of the inputs) and run.json (versions, fingerprints,
            the account of the rows).
        encoding: encoding.json of an earlier run, whose inputs and categories these visits get.
        tables: where tables are computed.
    """

    visits: Path
    mapping: Path
    out: Path
    encoding: Path | None = None
    tables: EngineSettings = field(default_factory=EngineSettings)


@dataclass(frozen=True)
class SimulateSettings:
    """Write the raw tables of a simulated district, in the shape of Table 7.

    Args:
        out: folder to write to; new or empty.
        visits: visits to simulate, met to within a fraction of a percent.
        patients: patients; as many per visit as in the study if not given.
        seed: of every draw.
        check: also read the tables back, and print Table 7 of the planted types beside the published one.
        tables: where --check computes.
    """

    out: Path
    visits: int = 3_650_000
    patients: int | None = None
    seed: int = 42
    check: bool = False
    tables: EngineSettings = field(default_factory=EngineSettings)


def features(settings: FeaturesSettings, terminal: Terminal) -> None:
    """Write the features of a table of visits, their encoding and a manifest.

    Raises:
        InputError: the visits, the mapping or the encoding cannot be used; nothing was written.
    """
    began = datetime.now(UTC)
    check_out(settings.visits, settings.out)
    mapping = read_mapping(settings.mapping)
    encoding = Encoding.read(settings.encoding) if settings.encoding else None
    with scratch(settings.tables) as temp:
        unfinished = temp / "features.parquet"
        with terminal.step("features"):
            levels = encoding.levels if encoding else None
            made = write_features(settings.visits, mapping, unfinished, levels, settings.tables)
        if encoding:
            encoding.check(variable.name for variable in made.inputs)
        folder = RunFolder(settings.out)  # from here on nothing can be wrong with the input
        folder.file(unfinished.name, partial(_move, unfinished), private=True)
    encoding = encoding or Encoding(made.inputs, made.levels, made.scaling)
    folder.file("encoding.json", encoding.write)
    folder.finish(
        {
            "jvade": manifest.versions()["jvade"],
            "began": began.isoformat(timespec="seconds"),
            "seconds": terminal.seconds,
            "versions": manifest.versions(),
            "settings": manifest.plain(settings),
            "input": manifest.fingerprints(settings.visits, settings.mapping),
            "account": manifest.plain(made.account),
        }
    )
    for line in made.account.lines():
        terminal.say(f"  {line}")
    terminal.say(f"{len(made.inputs)} inputs: {', '.join(variable.name for variable in made.inputs)}")
    rows_of = f"{unfinished.name} has a row per visit: not to be passed on"
    terminal.say(f"Everything is in {settings.out}; {rows_of}.")


def _move(made: Path, target: Path) -> None:
    if made.is_dir():  # Spark's, which cannot take the place of a file
        target.unlink()
    shutil.move(made, target)


def simulate(settings: SimulateSettings, terminal: Terminal) -> None:
    """Write a district, and print how near it comes to the published one if asked to.

    Raises:
        InputError: a number is out of range, or the folder is in use.
    """
    with terminal.step("district"):
        written = tables.write(
            settings.out,
            settings.visits,
            settings.patients,
            settings.seed,
            lambda done, total: terminal.progress("patients", done, total),
        )
    terminal.say(
        f"{settings.out}: {written.visits:,} visits of {written.patients:,} patients, "
        f"{written.missing_cost:,} without a cost."
    )
    if not settings.check:
        return
    with terminal.step("check"):
        table = read_visits(
            settings.out / "visits", read_mapping(settings.out / "mapping.toml"), settings=settings.tables
        )
        types = pq.read_table(settings.out / "truth.parquet")["planted_type"].to_numpy()
        planted = types[table.frame["row"].to_numpy() - 1]
        found = fidelity.compare(table.frame, planted, published.load("table7_profiles"))
        # Of the raw table, where the visits without a cost still are.
        raw = pq.read_table(settings.out / "visits", columns=["cost", "patient_id"])
        who = raw["patient_id"].dictionary_encode().unify_dictionaries().combine_chunks().indices
        notes = fidelity.describe(raw.select(["cost"]).to_pandas(), who.to_numpy())
    wide = found.wide()
    wide["variable"] += [" (%)" if unit.startswith("percent") else f" ({unit})" for unit in wide["unit"]]
    wide = wide.drop(columns=["group", "unit"])
    terminal.table("Table 7 of the planted types, by type; published in brackets", wide)
    for line in found.lines():
        terminal.say(line)
    asked = f"{notes['visits'] / settings.visits - 1:+.2%} of what was asked"
    missing = notes["percent of visits without a cost"]
    terminal.say(f"visits: {notes['visits']:,.0f}, {asked}; {missing:.2f}% without a cost")
    mean, spread, most = (
        notes[f"visits per patient, {name}"] for name in ("mean", "standard deviation", "most")
    )
    terminal.say(f"visits per patient: mean {mean:.2f}, standard deviation {spread:.2f}, at most {most:.0f}")


def draft_mapping(file: Path, charset: str | None, out: Path | None) -> None:
    """Print the draft of a mapping, or write it to a file that does not exist yet.

    Raises:
        InputError: the file cannot be read, or `out` exists.
    """
    written = None if charset is None else Csv(charset)
    if written:
        written.check()
    text = draft.draft(file, written)
    if out is None:
        print(text, end="")
        return
    try:
        with out.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise InputError(["there is such a file already; name another"], out.name) from None
    print(f"{out}: look through it, then: jvade features --visits {file} --mapping {out} --out DIR")
