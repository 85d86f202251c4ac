"""Train on several simulated devices, of one process or of two, and keep what comes out.

python devices.py OUT N_DEVICES [PROCESS ADDRESS]: with the last two, this is one of two processes.
"""

import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import jax

if __name__ == "__main__":
    out, n_devices, *process = sys.argv[1:]
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", int(n_devices))
    if process:
        jax.distributed.initialize(process[1], num_processes=2, process_id=int(process[0]))

import jax.numpy as jnp
import numpy as np

from jvade.core import fit, lanes
from jvade.core.epoch import TrainState
from jvade.core.fit import MixtureStart
from jvade.core.layout import place
from jvade.core.mixture import Mixture
from jvade.core.settings import Architecture, Hyperparameters, Training

ARCHITECTURE = Architecture(6, latent_dim=2, n_clusters=3, widths=(16,))
#: 50 rows of a batch do not divide evenly among four devices, and the 4 of the last leave three without any.
TRAINING = Training(batch_size=50, max_epochs=6, input_dropout=0.3, block_epochs=2, layout="vmap")
PART = {"epoch_batches": 6}  # of the rows an epoch


def visits() -> np.ndarray:
    """Three clouds."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 6))[rng.integers(0, 3, 505)] + 0.3 * rng.normal(size=(505, 6))


def stacked(n_lanes: int) -> lanes.Lane:
    """Return lanes of which the second has nothing to learn and stops early."""
    penalties = {"occupancy_floor": 0.9, "repulsion": 0.1}  # of all rows of a batch, whoever has them
    patient = Hyperparameters(learning_rate=3e-3, n_clusters=3, patience=50, **penalties)
    hopeless = patient._replace(learning_rate=0.0, weight_decay=0.0, patience=1)
    return lanes.stack(list(range(n_lanes)), [patient, hopeless, patient][:n_lanes])


class Kept:
    """Keeps the states after every block, and begins with those of another training."""

    def __init__(self, begin: TrainState | None = None) -> None:
        self.begin, self.states = begin, []

    def resume(self, stage: str, fresh: TrainState) -> TrainState:
        """Return the states to go on from."""
        return fresh if self.begin is None else self.begin

    def keep(self, stage: str, states: TrainState, why: str) -> None:
        """Keep them."""
        self.states.append(states)


def finetune(n_lanes: int, keeper: Kept | None = None, **changes: Any) -> lanes.Trained:
    """Return VaDE trained from a mixture at hand."""
    training = replace(TRAINING, **changes)
    stack, means = stacked(n_lanes), np.random.default_rng(1).normal(size=(n_lanes, 3, 2))
    mixture = Mixture(jnp.zeros((n_lanes, 3)), jnp.asarray(means), jnp.zeros((n_lanes, 3, 2)))
    params = lanes.init(stack, ARCHITECTURE)._replace(mixture=mixture)
    given = jnp.asarray(visits()), params, stack, "fine-tuning", ARCHITECTURE, training
    return lanes.train(*given, keeper=keeper)


def cases(n_devices: int, shared: list[Any]) -> dict[str, lanes.Trained]:
    """Return one lane, whose rows all devices share, and two or three, parted in two; the second soon stops.

    Under "map" two train a program each, and the one that is left is shared from the next block on, where it
    counts as long. Wherever it is stopped, it goes on to the same result. One that has been alone from the
    beginning is shared from there on.

    Args:
        n_devices: two, as a CPU is parted, or four, whose parts of a batch are filled up.
        shared: gets an entry for each block that devices share under "map".
    """
    kept, how = Kept(), {"layout": "map", "block_epochs": 3}
    alone = finetune(2, kept, **how)
    assert len(shared) == 1, "the second of two blocks"
    for states in (stopped_among_two(how), stopped_when_shared(kept.states[0], how)):
        jax.tree.map(np.testing.assert_array_equal, finetune(2, Kept(states), **how), alone)
    found = {"two lanes": finetune(2), "two lanes alone": alone}
    if n_devices > 2:
        return found | {"one lane": finetune(1), "three lanes": finetune(3, **PART)}
    del shared[:]
    found["one lane alone"] = finetune(1, **how)
    assert len(shared) == 2, "both blocks"
    return found


def stopped_among_two(how: dict[str, Any]) -> TrainState:
    """Return what is kept where the second lane has stopped within the first block, and the first has not."""
    in_turns = lanes._in_turns

    def stop(calls: Any) -> Any:
        found = []
        for ((state, x, lane, _), static), end in zip(calls, (1, 3), strict=True):
            found += in_turns([((state, x, lane, jnp.array(end)), static)])[0]
        return found, KeyboardInterrupt()

    return kept_where_stopped("_in_turns", stop, [1, 2], Kept(), how)


def stopped_when_shared(begin: TrainState, how: dict[str, Any]) -> TrainState:
    """Return what is kept of the lane that devices share, stopped in the second piece of its block."""
    block, n_run = lanes._block, []

    def stop(*arguments: Any, **named: Any) -> TrainState:
        n_run.append(1)
        if len(n_run) == 2:
            raise KeyboardInterrupt
        return block(*arguments, **named)

    return kept_where_stopped("_block", stop, [5, 2], Kept(begin), how)


def kept_where_stopped(
    name: str, stop: Any, epochs: list[int], kept: Kept, how: dict[str, Any]
) -> TrainState:
    """Return what is kept of two lanes where a function of the training stops it, after so many epochs."""
    with patch.object(lanes, name, stop), suppress(KeyboardInterrupt):
        finetune(2, kept, **how)
    assert kept.states[-1].epoch.tolist() == epochs
    return kept.states[-1]


def whole(n_lanes: int) -> fit.Fit:
    """Return both stages, the mixture started by EM."""
    start = MixtureStart(n_rows=200, n_init=2, n_continued=1)
    return fit.fit(jnp.asarray(visits()), stacked(n_lanes), ARCHITECTURE, TRAINING, start)


def arrays(found: object) -> dict[str, np.ndarray]:
    """Return every leaf by its path."""
    leaves, _ = jax.tree.flatten_with_path(found)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


if __name__ == "__main__":
    assert jax.device_count() == int(n_devices) * (2 if process else 1)
    table = jnp.zeros((1000, 40))
    parts = [shard.data.unsafe_buffer_pointer() for shard in place(table, "vmap").addressable_shards]
    assert set(parts) == {table.unsafe_buffer_pointer()}  # the devices of a CPU share an array
    lanes.LONG = lanes.SHARED_STEPS = lanes.SHARED_ALONE = 0
    lanes.PIECE_STEPS = 20  # two epochs: of a block of three, the last piece is short
    lanes.SHARED_PRODUCTS = 0, 10**9
    shared, share = [], lanes._shared
    lanes._shared = lambda one: shared.append(one) or share(one)
    if process:
        found = {"both stages": whole(1), "two lanes alone": finetune(2, layout="map")}
    else:
        found = cases(int(n_devices), shared)
    assert bool(process) != bool(shared)  # processes leave lanes of "map" to themselves
    np.savez(out, allow_pickle=False, **arrays(found))  # pyright: ignore[reportArgumentType]
