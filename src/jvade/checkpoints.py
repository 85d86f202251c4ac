"""The state of training kept on disk between blocks of epochs, so that a run that was stopped goes on."""

import shutil
import time
from pathlib import Path
from typing import Any

import jax

from jvade.core.epoch import TrainState

#: Seconds of training that a stopped run may lose, beside its last block: a checkpoint takes half of one.
EVERY = 30.0


class Checkpoints:
    """Keeps the latest state of every stage of one training, a folder each; the `keeper` of `fit.fit`.

    Args:
        folder: private, and of this training alone: a state is taken for that of the same program, data and
            settings.
        every: seconds between two checkpoints of a stage, at least.
    """

    def __init__(self, folder: Path, every: float = EVERY) -> None:
        self.folder, self.every = folder.resolve(), every
        self._kept = time.monotonic()

    def resume(self, stage: str, fresh: TrainState) -> TrainState:
        """Return the latest state of a stage, `fresh` where none was kept."""
        self._kept = time.monotonic()
        if not (self.folder / stage).is_dir():
            return fresh
        like = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in _kept(fresh).items()
        }
        with self._open(stage) as checkpointer:
            if checkpointer.latest is None:
                return fresh
            try:
                leaves = checkpointer.load(None, like)
            except Exception:  # a power cut leaves files half written, and orbax has many words for that
                leaves = None
        if leaves is None:
            shutil.rmtree(self.folder / stage)
            return fresh
        names, structure = list(like), jax.tree.structure(fresh._replace(key=None))
        return jax.tree.unflatten(structure, [leaves[name] for name in names])._replace(key=fresh.key)

    def keep(self, stage: str, states: TrainState) -> None:
        """Keep the state of a stage in place of the one before, if that is long enough ago."""
        if time.monotonic() - self._kept < self.every:
            return
        with self._open(stage) as checkpointer:
            checkpointer.save(int(states.epoch.max()), _kept(states), overwrite=True)
        self._kept = time.monotonic()

    def _open(self, stage: str) -> Any:
        # Imported where training is kept: it takes longer than a small training.
        from orbax.checkpoint import v1 as orbax

        latest = orbax.training.preservation_policies.LatestN(1)
        (self.folder / stage).mkdir(mode=0o700, parents=True, exist_ok=True)
        return orbax.training.Checkpointer(
            self.folder / stage,  # pyright: ignore[reportArgumentType]
            preservation_policy=latest,  # pyright: ignore[reportArgumentType]
            cleanup_tmp_directories=True,
        )


def _kept(states: TrainState) -> dict[str, jax.Array]:
    """Return what is kept, by path: all but the keys, which follow from the lanes."""
    leaves, _ = jax.tree.flatten_with_path(states._replace(key=None))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
