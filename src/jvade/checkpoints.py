"""The state of training kept on disk between blocks of epochs, so that a run that was stopped goes on."""

import json
import logging
import shutil
import threading
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import jax

from jvade import atomic
from jvade.core.epoch import TrainState

#: Names in the folder of a run: what has a row per record, for the analyst alone; in it, states of trainings.
PRIVATE, CHECKPOINTS = "private", "checkpoints"
#: Seconds of training that a stopped run may lose, beside its last block: a checkpoint takes half of one.
EVERY = 30.0
#: Seconds of a run from which the end of a stage is kept.
LONG = 10.0
#: Seconds that each thread of a checkpoint that failed is waited for, at most.
LAST_WORDS = 1.0
#: What the folder of a state that could not be read is called, before its own name.
UNREADABLE = "unreadable-"
#: File that says how long the training has taken so far, over all its runs.
SECONDS = "seconds"


def remove(folder: Path, run: Path) -> None:
    """Remove what a training kept, and the folders above it within that of its run that are empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    folder, run = folder.resolve(), run.resolve()
    for parent in folder.parents[: len(folder.relative_to(run).parts) - 1]:
        with suppress(OSError):  # unless another run keeps something there
            parent.rmdir()


class Checkpoints:
    """Keeps the latest state of every stage of one training, a folder each; the `keeper` of `fit.fit`.

    Args:
        folder: private, and of this training alone: a state is taken for that of the same program, data and
            settings.
        every: seconds between two checkpoints of a stage, at least; `EVERY` if not given.

    Attributes:
        seconds: how long the runs before this one worked, up to the last checkpoint of each.
    """

    def __init__(self, folder: Path, every: float | None = None) -> None:
        if jax.process_count() > 1:
            raise ValueError("checkpoints are kept by one process; several would have to agree on the moment")
        self.folder, self.every = folder.resolve(), EVERY if every is None else every
        self._began = self._kept = time.monotonic()
        try:
            self.seconds = float((self.folder / SECONDS).read_text())
        except (OSError, ValueError):
            self.seconds = 0.0

    def resume(self, stage: str, fresh: TrainState) -> TrainState:
        """Return the latest state of a stage, `fresh` where none was kept."""
        self._kept = time.monotonic()
        leaves = _kept(fresh)
        folder = self._place(stage, leaves)
        if not folder.is_dir():
            return fresh
        like = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in leaves.items()
        }
        with _quiet(), self._open(folder) as checkpointer:
            if checkpointer.latest is None:
                return fresh
            problem = ""
            try:
                found: Any = checkpointer.load(None, like)
            except FileNotFoundError as error:  # half of it was written
                found, problem = None, type(error).__name__
            except OSError as error:  # no fault of what it says
                advice = "try again, or begin anew without it"
                raise OSError(f"the kept state in {folder} cannot be read ({error}); {advice}") from error
            except (MemoryError, jax.errors.JaxRuntimeError):
                raise
            except Exception as error:  # a power cut leaves them half written; orbax has many words for that
                found, problem = None, type(error).__name__
        if problem:
            number = len(list(folder.parent.glob(f"{UNREADABLE}*"))) + 1
            aside = folder.with_name(f"{UNREADABLE}{number}-{folder.name}")
            folder.rename(aside)
            what = f"the kept state of the {stage} cannot be read ({problem}), so that stage begins anew"
            warnings.warn(f"{what}; what was kept is now in {aside}", stacklevel=2)
            return fresh
        names, structure = list(like), jax.tree.structure(fresh._replace(key=None))
        return jax.tree.unflatten(structure, [found[name] for name in names])._replace(key=fresh.key)

    def keep(self, stage: str, states: TrainState, why: Literal["", "end", "stop"] = "") -> None:
        """Keep the state of a stage in place of the one before, if that is long enough ago.

        The end of a stage is kept where the run has taken `LONG` by then: what comes after a training may
        take a while too, and fail. Where a person stops it, the state is kept in any case.

        Raises:
            OSError: it cannot be written; the one before is still there.
        """
        now = time.monotonic()
        enough = (
            now - self._began >= min(LONG, self.every) if why == "end" else now - self._kept >= self.every
        )
        if why != "stop" and not enough:
            return
        leaves = _kept(states)
        try:
            with _quiet(), self._open(self._place(stage, leaves)) as checkpointer:
                checkpointer.save(int(states.epoch.max()), leaves, overwrite=True)
        except Exception as error:  # orbax has many words for a disk that is full
            problem = f"the state of the training cannot be kept in {self.folder}"
            advice = "make room there, and the same command goes on from the state before"
            raise OSError(f"{problem}: is the disk full, or the folder read-only? {advice}") from error
        self._kept = time.monotonic()
        seconds = f"{self.seconds + self._kept - self._began:.2f}"
        atomic.write(self.folder / SECONDS, lambda file: file.write_text(seconds))

    def _place(self, stage: str, leaves: dict[str, jax.Array]) -> Path:
        """Return the folder of a stage; stacks of different shapes are trainings of their own."""
        shapes = {name: [*leaf.shape, str(leaf.dtype)] for name, leaf in leaves.items()}
        return self.folder / f"{stage}-{zlib.crc32(json.dumps(shapes).encode()):08x}"

    def _open(self, folder: Path) -> Any:
        # Imported where training is kept: it takes longer than a small training.
        from orbax.checkpoint import v1 as orbax

        latest = orbax.training.preservation_policies.LatestN(1)
        atomic.private_folder(folder)
        return orbax.training.Checkpointer(
            folder,  # pyright: ignore[reportArgumentType]
            preservation_policy=latest,  # pyright: ignore[reportArgumentType]
            cleanup_tmp_directories=True,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep orbax from logging what is raised all the same: four tracebacks before one line of ours."""
    loggers = [logging.getLogger(name) for name in ("absl", "orbax", "asyncio")]
    levels, before = [logger.level for logger in loggers], set(threading.enumerate())
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        # Its threads log what went wrong after it was raised here, and would write into our line.
        for thread in threading.enumerate():
            if thread not in before and _is_of_orbax(thread):
                thread.join(LAST_WORDS)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _is_of_orbax(thread: threading.Thread) -> bool:
    return thread.name == "async_save" or type(thread).__module__.startswith("orbax.")


def _kept(states: TrainState) -> dict[str, jax.Array]:
    """Return what is kept, by path: all but the keys, which follow from the lanes."""
    leaves, _ = jax.tree.flatten_with_path(states._replace(key=None))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
