"""A stage of the study, and the folder that remembers which are finished.

A stage is a function of the settings and of the stages it needs. What it returns is kept: tables that may be
shown as CSV beside each other, what has a row per visit under `private/`, and last of all a record in
`stages/`. A stage whose record carries the key of today's settings, input and code is not computed again; a
run that is stopped, by ctrl-C or by a power cut, loses the stage it was in and nothing else; of long training
it loses the last block of epochs or the last half a minute.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jvade import atomic, hooks, manifest
from jvade.checkpoints import CHECKPOINTS, PRIVATE, Checkpoints
from jvade.paper.settings import PaperSettings, StageName
from jvade.report.folder import RunFolder
from jvade.report.terminal import Terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # takes a second to load

RECORDS = "stages"


@dataclass(frozen=True)
class Outcome:
    """What a stage found.

    Args:
        tables: by name; aggregates only, written as CSV.
        values: further numbers and words, for the record and the results page.
        arrays: with a row per visit, or of a model; private.
        frames: tables with a row per visit; private.
        warnings: what a reader must know before trusting it.
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One stage.

    Args:
        name: as `--only` knows it.
        part: where in the study it is found.
        needs: stages whose outcome it reads.
        settings: fields of the settings that its outcome depends on, beside those of its needs.
        compute: the outcome.
        draw: figures by name, from the outcome; drawn anew in every run.
    """

    name: StageName
    part: str
    needs: tuple[StageName, ...]
    settings: tuple[str, ...]
    compute: Callable[["Study"], Outcome]
    draw: Callable[["Study", Outcome], Mapping[str, "Figure"]] = lambda _study, _outcome: {}


class Study:
    """A run: settings, folder, and the outcomes so far.

    Args:
        settings: what was asked.
        folder: where it goes.
        terminal: where progress is said.
        stages: all of them, each after those it needs.
        source: fingerprint of the visits, or what they are simulated from.
    """

    def __init__(
        self,
        settings: PaperSettings,
        folder: RunFolder,
        terminal: Terminal,
        stages: Mapping[str, Stage],
        source: Mapping[str, Any],
    ) -> None:
        self.settings, self.folder, self.terminal = settings, folder, terminal
        self.stages, self.source = stages, source
        self._keys: dict[str, str] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._derived: dict[str, Any] = {}

    def derived(self, name: str, make: Callable[[], Any]) -> Any:
        """Return something that several stages make of the outcomes; made once a run."""
        if name not in self._derived:
            self._derived[name] = make()
        return self._derived[name]

    def key(self, name: str) -> str:
        """Return what the outcome of a stage depends on, as one word."""
        if name in self._keys:
            return self._keys[name]
        stage = self.stages[name]
        self._keys[name] = manifest.key(
            stage=name,
            settings={field: manifest.plain(getattr(self.settings, field)) for field in stage.settings},
            needs=[self.key(need) for need in stage.needs],
            source={} if stage.needs else self.source,
        )
        return self._keys[name]

    def record(self, name: str) -> dict[str, Any] | None:
        """Return the record of a stage, if it was finished with today's key and its files are there."""
        record = self._stored(name)
        if record is None or record.get("key") != self.key(name):
            return None
        here = all(
            (self.folder.path / file).is_file() and (self.folder.path / file).stat().st_size == size
            for file, size in record["files"].items()
        )
        return record if here else None

    def outcome(self, name: str) -> Outcome:
        """Return the outcome of a finished stage, read back from the folder.

        Raises:
            LookupError: the stage is not finished.
        """
        if name not in self._outcomes:
            record = self.record(name)
            if record is None:
                raise LookupError(f"stage '{name}' is not finished")
            self._outcomes[name] = read_outcome(self.folder.path, record)
        return self._outcomes[name]

    def checkpoints(self, name: str) -> Checkpoints:
        """Return what keeps the training of a stage while it is not finished."""
        return Checkpoints(self.folder.path / PRIVATE / CHECKPOINTS / name / self.key(name)[:16])

    def told(self, name: str) -> hooks.Hook:
        """Return what is told of the training of a stage: on the terminal, and as JSON beside its record."""
        lines = self.folder.path / RECORDS / f"{name}.jsonl"
        return hooks.every(hooks.show(self.terminal), hooks.jsonl(lines))

    def forget(self) -> None:
        """Remove the records of an earlier run: every stage is to be computed again."""
        for path in (self.folder.path / RECORDS).glob("*.json"):
            path.unlink()
        shutil.rmtree(self.folder.path / PRIVATE / CHECKPOINTS, ignore_errors=True)

    def bring_up_to_date(self, name: str, anew: bool = False) -> None:
        """Compute a stage and keep its outcome, unless a finished one is there.

        Args:
            name: of the stage.
            anew: compute it all the same, and once that has gone well forget what is finished of all stages.
        """
        if not anew and self.record(name) is not None:
            return
        # What earlier runs spent on training that is resumed counts as well.
        began, clock = datetime.now(UTC), time.perf_counter() - self.checkpoints(name).seconds
        with self.terminal.step(name):
            found = self.stages[name].compute(self)
        if anew:
            self.forget()
        self._keep(name, found, began.isoformat(timespec="seconds"), clock)
        shutil.rmtree(self.folder.path / PRIVATE / CHECKPOINTS / name, ignore_errors=True)
        for warning in found.warnings:
            self.terminal.say(f"  warning: {warning}", "yellow")

    def _keep(self, name: str, found: Outcome, began: str, clock: float) -> None:
        before = self._stored(name) or {"files": []}
        (self.folder.path / RECORDS / f"{name}.json").unlink(missing_ok=True)
        atomic.private_folder(self.folder.path / PRIVATE)
        files = [self.folder.table(title, table) for title, table in found.tables.items()]
        if found.arrays:
            arrays = {title: np.asarray(array) for title, array in found.arrays.items()}
            files.append(self.folder.file(f"{PRIVATE}/{name}.npz", partial(_save_arrays, arrays)))
        for title, frame in found.frames.items():
            files.append(self.folder.file(f"{PRIVATE}/{title}.parquet", partial(_save_frame, frame)))
        record = {
            "stage": name,
            "part": self.stages[name].part,
            "key": self.key(name),
            "began": began,
            "seconds": round(time.perf_counter() - clock, 2),
            "peak_memory_gb": manifest.peak_memory_gb(),
            "tables": list(found.tables),
            "frames": list(found.frames),
            "values": found.values,
            "warnings": found.warnings,
            "files": {str(file.relative_to(self.folder.path)): file.stat().st_size for file in files},
        }
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        self.folder.text(f"{RECORDS}/{name}.json", text)
        for file in set(before["files"]) - set(record["files"]):
            (self.folder.path / file).unlink(missing_ok=True)
        self._outcomes.pop(name, None)

    def _stored(self, name: str) -> dict[str, Any] | None:
        return read_record(self.folder.path, name)


def read_record(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the record of a stage as kept last, by whatever settings; None if there is none to be read."""
    try:
        return json.loads((folder / RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_outcome(folder: Path, record: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a stage as its record says it was kept."""
    tables = {title: pd.read_csv(folder / f"{title}.csv") for title in record["tables"]}
    arrays: dict[str, np.ndarray] = {}
    if f"{PRIVATE}/{record['stage']}.npz" in record["files"]:
        with np.load(folder / PRIVATE / f"{record['stage']}.npz", allow_pickle=False) as file:
            arrays = dict(file)
    frames = {title: pd.read_parquet(folder / PRIVATE / f"{title}.parquet") for title in record["frames"]}
    return Outcome(tables, record["values"], arrays, frames, tuple(record["warnings"]))


def _save_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    with path.open("wb") as file:  # savez would add a suffix to a name
        np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]


def _save_frame(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, index=False)
