"""What `jvade predict` does: a model and rows in, a cluster for each row out, in bounded memory."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from jvade import atomic, ensemble, interrupts, model_file
from jvade.checkpoints import PRIVATE
from jvade.columns import TableError
from jvade.commands import rows
from jvade.data.engines import EngineSettings
from jvade.data.errors import InputError
from jvade.data.files import ENDINGS, ends, is_csv, is_packed
from jvade.data.mapping import read_mapping
from jvade.data.source import check_out
from jvade.data.text import UTF8, Csv
from jvade.estimator import VaDE
from jvade.paper.settings import DeviceName
from jvade.report.folder import MANIFEST
from jvade.report.terminal import Terminal

Also = Literal["memberships", "latents", "bound"]
#: Share of the rows from which on a person is told: of those without a value, and of those of little support.
MANY_MISSING, MANY_DOUBTFUL = 0.5, 0.25


@dataclass(frozen=True)
class PredictSettings:
    """Place rows in the clusters of a model.

    Args:
        model: file that `jvade fit` wrote (model.jvade), or its folder.
        out: file to write, Parquet, or CSV where it is named so (.tsv and .txt: with tabs): row (number in
            the file, from 1), cluster (from 0, as in the model) and support (in [0, 1]: the share of the
            runs that agree; of a single run, the responsibility).
        visits: visits, where the model was fitted to some; needs the --mapping it was fitted through. Rows
            that its rules drop are left out.
        mapping: see --visits.
        table: any table with the columns of the model: CSV, Parquet, or a folder of parts; others are left
            aside. The features.parquet of `jvade features` is one.
        csv: how the CSV files of --table are written; a mapping says it of visits.
        also: further columns: memberships (of every cluster), latents, bound (of the log-density, nats).
        device: where to compute; "auto" takes an accelerator if JAX finds one.
        tables: where tables are computed.
    """

    model: Path
    out: Path
    visits: Path | None = None
    mapping: Path | None = None
    table: Path | None = None
    csv: Csv = UTF8
    also: tuple[Also, ...] = ()
    device: DeviceName = "auto"
    tables: EngineSettings = field(default_factory=EngineSettings)

    def check(self) -> None:
        """Refuse what cannot be written, before any file is read.

        Raises:
            InputError: what was expected, and what came.
        """
        rows.check(self.visits, self.mapping, self.table, self.csv, self.out)
        out = self.out.resolve()
        if out.is_dir():
            raise InputError([f"--out: {self.out} is a folder; name a file in it"], "settings")
        of_model = self.model / model_file.NAME if self.model.is_dir() else self.model
        read = {
            "the table itself": (self.visits, self.table),
            "the mapping": (self.mapping,),
            "the model": (of_model,),
            "the card of the model": (model_file.card_path(of_model),),
            "a file of the run of the model": _files_of_run(of_model.parent),
        }
        if self.mapping is not None:
            joined = [Path(join.file) for join in read_mapping(self.mapping).join]
            read |= {"a table of the mapping": joined}
            for folder in joined:
                check_out(folder, self.out)
        for what, paths in read.items():
            if out in [path.resolve() for path in paths if path is not None]:
                raise InputError([f"--out: this is {what}; name another file"], "settings")
        if out.suffix and (is_packed(out) or not ends(out, ENDINGS)):
            expected = "expected a name in .parquet or .csv (.pq, .tsv and .txt will do)"
            raise InputError([f"--out: {expected}, got {self.out.name}"], "settings")


def _files_of_run(folder: Path) -> list[Path]:
    """Return the files that the manifest of a run names, and itself; none where there is no such run."""
    try:
        names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return [folder / name for name in (MANIFEST, *names)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def run(settings: PredictSettings, terminal: Terminal) -> None:
    """Write the cluster of each row.

    Raises:
        InputError: the model or the rows cannot be used; nothing was written.
    """
    settings.check()
    model = model_file.load(settings.model)
    folder = settings.model
    if (folder / PRIVATE).is_dir() and not (folder / MANIFEST).exists():
        what = "the last fit into this folder did not end: the model in it may be of the one before"
        terminal.say(f"  warning: {what}", "yellow")
    source = (settings.visits, settings.mapping, settings.table, settings.csv)
    name = (settings.table or settings.visits or Path()).name
    counts = np.zeros(model.n_clusters_, int)
    doubtful, unknown, missing = 0, Counter[str](), Counter[str]()
    with (
        rows.stream(*source, model.columns_, model.about_, settings.tables, terminal) as parts,
        terminal.step("clusters"),
    ):

        def make(file: Path) -> None:
            nonlocal doubtful
            writer = None
            for row, frame in parts:
                if not len(row):
                    continue
                unknown.update(model.columns_.unknown(frame))
                missing.update(model.columns_.missing(frame))
                try:
                    found = place(model, row, frame, settings.also)
                except TableError as error:
                    raise InputError(error.problems, name) from None
                counts[:] += np.bincount(found["cluster"], minlength=len(counts))
                doubtful += int(np.sum(found["support"].to_numpy() < 0.5))
                writer = writer or writer_of(settings.out, file, found.schema)
                writer.write_table(found)
                interrupts.check()
            if writer is None:
                raise InputError(["the table has no rows"], name)
            writer.close()

        atomic.write(settings.out, make, private=True)
    total = counts.sum()
    for k, count in enumerate(counts):
        terminal.say(f"  cluster {k}: {100 * count / total:.1f} % of {total:,} rows")
    terminal.say(f"  support below a half: {100 * doubtful / total:.1f} %")
    if doubtful > MANY_DOUBTFUL * total:
        what = "runs disagree on many of these rows"
        terminal.say(f"  warning: {what}; are units and codes those that the model was fitted to?", "yellow")
    for column, n in missing.items():
        if n > MANY_MISSING * total:
            what = f"column '{column}': no value in {n:,} of {total:,} rows"
            terminal.say(f"  warning: {what}; a number counts as the mean, a category as none", "yellow")
    for column, n in unknown.items():
        if n:
            what = f"column '{column}': {n:,} rows have a category that the model does not know"
            terminal.say(f"  warning: {what}; is it coded in another way?", "yellow")
    one = "record" if settings.visits is None else "visit"
    terminal.say(f"{settings.out}: a cluster for each row; a row per {one}: not to be passed on")


def writer_of(out: Path, file: Path, schema: pa.Schema) -> csv.CSVWriter | pq.ParquetWriter:
    """Return what writes a file in the way that the name of the output says."""
    if not out.suffix or not is_csv(out):
        return pq.ParquetWriter(file, schema)
    delimiter = "," if ends(out, (".csv",)) else "\t"
    return csv.CSVWriter(file, schema, write_options=csv.WriteOptions(delimiter=delimiter))


def place(model: VaDE, row: np.ndarray, frame: pd.DataFrame, also: tuple[Also, ...]) -> pa.Table:
    """Return what is written of some rows.

    Raises:
        TableError: a column cannot be used as it is.
    """
    x = model.columns_.encode(frame)
    labels, support = ensemble.place(model.ensemble_, x)
    columns = {"row": row, "cluster": labels.astype(np.int32), "support": support.astype(np.float32)}
    if "memberships" in also:
        shares = ensemble.memberships(model.ensemble_, x).astype(np.float32)
        columns |= {f"membership_{k}": shares[:, k] for k in range(shares.shape[1])}
    if "latents" in also:
        latents = ensemble.encode(model.ensemble_, x).means
        columns |= {f"latent_{d}": latents[:, d] for d in range(latents.shape[1])}
    if "bound" in also:
        columns["bound"] = ensemble.bounds(model.ensemble_, x).astype(np.float32)
    return pa.table(columns)
