"""A stack of lanes trained side by side: the host's loop between blocks of epochs.

Every lane is the program of `epoch`; this file says how a stack of them shares a device, compacts lanes
that have finished, and reports. A run of one is a stack of one.
"""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Event, Lock
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jvade.core import epoch, model
from jvade.core import layout as layouts
from jvade.core.epoch import History, Lane, TrainState
from jvade.core.model import Parameters
from jvade.core.objective import ElboTerms
from jvade.core.settings import Architecture, Hyperparameters, Layout, Training


class Progress(NamedTuple):
    """What a person sees when a stage begins and at the end of each block.

    `begun` is the epoch that this run of the stage began at: 0, or where a kept one goes on.
    """

    stage: str
    begun: int
    epoch: int
    max_epochs: int
    active: Bool[np.ndarray, " S"]
    validation_loss: Float[np.ndarray, " S"]


@runtime_checkable
class Keeper(Protocol):
    """Keeps the states of a stage between blocks, for a training that may be stopped."""

    def resume(self, stage: str, fresh: TrainState) -> TrainState:
        """Return the states to go on from: what was kept, or the fresh ones."""
        ...

    def keep(self, stage: str, states: TrainState, why: Literal["", "end", "stop"]) -> None:
        """Keep the states after a block; after the last one ("end"), or because a person stops it there."""
        ...


class Stopped(KeyboardInterrupt):
    """Ctrl-C within a block.

    Args:
        states: those of the lanes where it left them, each after a whole epoch.
    """

    def __init__(self, states: TrainState) -> None:
        super().__init__()
        self.states = states


class Trained(NamedTuple):
    """One stage of every lane; each field has a leading lane axis.

    Args:
        params: those of the best validation loss.
        history: mean terms of the ELBO per epoch, training and validation.
        n_epochs: epochs run.
        best_loss: lowest validation loss, natural log per row, lower is better.
        converged: patience ran out; False where the epochs did first.
        finite: False where a lane went non-finite; its `params` are the best before that.
        best_epoch: epoch of `params`, from 0; -1 where none had a finite loss.
    """

    params: Parameters
    history: History
    n_epochs: Array
    best_loss: Array
    converged: Array
    finite: Array
    best_epoch: Array


def stack(seeds: Sequence[int], hyperparameters: Hyperparameters | Sequence[Hyperparameters]) -> Lane:
    """Return a stack of lanes, one per seed; one set of hyperparameters for all, or one for each.

    Raises:
        ValueError: no seed, lists of different lengths, or a value out of its range.
    """
    each = [hyperparameters] * len(seeds) if isinstance(hyperparameters, Hyperparameters) else hyperparameters
    if not seeds or len(each) != len(seeds):
        raise ValueError(f"expected as many hyperparameters as seeds, got {len(each)} and {len(seeds)}")
    for one in each:
        one.check()
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    # The type is the field's: a sweep over (1, 0.1) must not become one of whole numbers.
    columns: dict[str, Any] = {
        name: jnp.array([getattr(one, name) for one in each], type(default))
        for name, default in Hyperparameters._field_defaults.items()
    }
    return Lane(keys, Hyperparameters(**columns))


_init = layouts.over_lanes(epoch.init, (0,), static_argnames=("architecture",))
_start = layouts.over_lanes(epoch.start, (0, 0), static_argnames=("stage", "training"))


@partial(jax.jit, static_argnames="training")
def _active(states: TrainState, lanes: Lane, training: Training) -> Bool[Array, " S"]:
    return jax.vmap(lambda s, lane: epoch.is_active(s, lane, training))(states, lanes)


_block = layouts.over_lanes(epoch.run_block, (0, None, 0, None), static_argnames=("architecture", "training"))
_validate = layouts.over_lanes(
    epoch.validate, (0, None, 0), static_argnames=("stage", "architecture", "training")
)
_block_alone = jax.jit(epoch.run_block, static_argnames=("architecture", "training"))

#: Settings of the training that programs do without where no lane has them.
WITHOUT = ("occupancy_floor", "repulsion", "balance")
#: Steps of a lane from which a program of its own size pays for its compilation: some 5 s, against 1 to 2 ms
#: that a step of few latents takes longer when it is padded to 30.
LONG = 5_000
#: Steps of a lane from which two devices of a CPU take it over, where it is alone: they save some 0.3 ms of
#: each (benchmarks/README.md), and the program takes 5 s to compile.
SHARED_STEPS = 20_000
#: The same of one that has been alone from the beginning: its own program need not be compiled, so sharing it
#: costs one second, which 3,000 steps bring back. Trainings stop before their last epoch.
SHARED_ALONE = 6_000
#: Rows of a batch times weights that pay for it: those of the study's models. Smaller steps are over before
#: two devices have met, larger ones fill both cores as it is, and have more gradients to add up.
SHARED_PRODUCTS = 20_000_000, 100_000_000
#: Steps of a shared lane in one piece, some 2 s: each costs 20 ms beside its steps, and what a person stops
#: in it is lost.
PIECE_STEPS = 2_000
#: Steps of a lane that compacting a stack on an accelerator has to save: a narrower program takes 6 s to
#: compile, and each lane more makes a step of 1024 rows 10 us longer (benchmarks/README.md).
SAVED_STEPS = 600_000


def _run_unpadded(
    states: TrainState, x: Array, lanes: Lane, until: Array, architecture: Architecture, training: Training
) -> TrainState:
    """Run a block of every lane at work at its own size, as many at a time as there are cores.

    Where one was alone from the beginning of the block, the devices of a CPU share the rows of its batches,
    if that pays.
    """
    n_lanes = len(states.epoch)
    found, each = layouts.split_lanes(states, n_lanes), layouts.split_lanes(lanes, n_lanes)
    working = np.asarray(_active(states, lanes, training))
    active = np.flatnonzero(working)
    # What was stopped within a block goes on as it would have: lanes that have ended in it were at work.
    begin = (int(until) - 1) // training.block_epochs * training.block_epochs
    ended = ~working & np.where(states.finite, states.epoch > begin, states.epoch >= begin)
    calls = []
    for i in active:
        state, lane = found[i], each[i]
        own = replace(architecture, latent_dim=int(lane.hyperparameters.latent_dim))
        if state.params.mixture is not None:
            own = replace(own, n_clusters=int(lane.hyperparameters.n_clusters))
        narrow = epoch.map_parameters(lambda params, own=own: model.unpad(params, own), state)
        calls.append(((narrow, x, lane, until), {"architecture": own, "training": training}))
    together = (
        len(calls) == 1
        and not ended.any()
        and layouts.cpu_is_parted()
        and _is_worth_sharing(calls[0][0][0].params, len(x), training, n_lanes)
    )
    after, stopped = _shared(calls[0]) if together else _in_turns(calls)
    for i, new in zip(active, after, strict=True):
        found[i] = epoch.map_parameters(lambda params, own: model.pad(own, params), found[i], new)
    states = layouts.stack_lanes(found)
    if stopped is not None:
        raise Stopped(states) from stopped
    return states


def _in_turns(calls: Sequence[layouts.Call]) -> tuple[list[TrainState], KeyboardInterrupt | None]:
    """Run a block of each of some lanes in pieces, so that no core waits for another at its end.

    The core that is free takes the lane with most left to do, and of all the epochs that wait half of its
    share: blocks at first, single epochs at the end (guided self-scheduling, Polychronopoulos and Kuck 1987).
    Where a person stops it, lanes are left where their pieces end.
    """
    call, lock, stop = layouts.compiled(_block_alone, calls, quickly=False), Lock(), Event()
    states: list[TrainState] = [arguments[0] for arguments, _ in calls]
    sizes = [sum(np.size(leaf) for leaf in jax.tree.leaves(state.params)) for state in states]
    until, waiting = int(calls[0][0][3]), set(range(len(calls)))

    def left(i: int) -> int:
        return until - int(states[i].epoch)

    def run_one(i: int, end: Any) -> None:
        (_, x, lane, _), static = calls[i]
        after = call(((states[i], x, lane, end), static))
        with lock:
            states[i] = after
            if after.epoch == end < until:  # else it is done, or has stopped
                waiting.add(i)

    def work(_: int) -> None:
        while True:
            with lock:
                if stop.is_set() or not waiting:  # the lanes at work are those of the other cores
                    return
                i = max(waiting, key=lambda i: left(i) * sizes[i])
                share = sum(map(left, waiting)) // (2 * layouts.THREADS)
                end = states[i].epoch + min(max(share, 1), left(i))
                waiting.remove(i)
            try:
                run_one(i, end)
            except BaseException:  # the other cores need not go on
                stop.set()
                raise

    stopped, n_workers = None, min(len(calls), layouts.THREADS)
    try:
        with ThreadPoolExecutor(n_workers) as pool:
            try:
                list(pool.map(layouts.as_precise(work), range(n_workers)))
            finally:
                stop.set()
    except KeyboardInterrupt as error:  # a second one too, while the pieces at work come to their end
        stopped = error
    return list(states), stopped


def _is_worth_sharing(params: Parameters, n_rows: int, training: Training, n_lanes: int) -> bool:
    """Return whether the devices of a CPU are to share the one lane of a stack of so many that is at work.

    Its epoch must not count: see `compact`.
    """
    products = training.batch_rows(n_rows) * sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    least = SHARED_ALONE if n_lanes == 1 else SHARED_STEPS
    return training.most_steps(n_rows) >= least and SHARED_PRODUCTS[0] <= products <= SHARED_PRODUCTS[1]


def _shared(one: layouts.Call) -> tuple[list[TrainState], KeyboardInterrupt | None]:
    """Run a block of one lane on all devices, in pieces: where a person stops it, it is left there."""
    (state, x, lane, until), static = one
    begin, until, training = int(state.epoch), int(until), static["training"]
    n_epochs = max(1, PIECE_STEPS * training.max_epochs // training.most_steps(len(x)))
    state, lane = jax.tree.map(lambda leaf: leaf[None], (state, lane))
    stopped = None
    try:
        for first in range(begin, until, n_epochs):
            end = min(first + n_epochs, until)
            state = _block(state, x, lane, jnp.array(end), layout="vmap", **static)
            if state.epoch[0] < end:  # it has stopped
                break
    except KeyboardInterrupt as error:
        stopped = error
    return [layouts.take_lane(state, 0)], stopped


_take = jax.jit(layouts.take_lane)


@jax.jit
def _put(tree: Any, index: Array, part: Any) -> Any:
    return jax.tree.map(lambda leaf, new: leaf.at[index].set(new), tree, part)


def compact(active: Bool[np.ndarray, " S"], layout: Layout, n_steps: int) -> np.ndarray:
    """Return the lanes to run next: all active ones, filled up with finished ones to a power of two.

    Few widths mean few compilations; a finished lane in the stack changes nothing. Under "map" it costs
    nothing either: its program ends at once. On an accelerator a stack is compacted where that may save more
    than it costs, and to powers of four.

    Args:
        active: which lanes are at work.
        layout: see `Training`.
        n_steps: of a lane that never stops early. The epoch reached must not count: a resumed training is to
            have the widths of one that was not stopped.
    """
    if layouts.resolve(layout) == "map":
        return np.arange(len(active))
    bits = (int(active.sum()) - 1).bit_length()
    if layouts.on_accelerator():
        width = min(len(active), 1 << (bits + bits % 2))
        width = width if (len(active) - width) * n_steps >= SAVED_STEPS else len(active)
    else:
        width = min(len(active), 1 << bits)
    return np.sort(np.argsort(~active, kind="stable")[:width])


def init(lanes: Lane, architecture: Architecture) -> Parameters:
    """Draw the starting parameters of every lane (mixture None).

    Raises:
        ValueError: a lane uses more latents or clusters than the architecture has.
    """
    for name in ("latent_dim", "n_clusters"):
        most = int(np.max(np.asarray(getattr(lanes.hyperparameters, name))))
        if most > getattr(architecture, name):
            raise ValueError(
                f"{name}: a lane asks for {most}, the architecture has {getattr(architecture, name)}; "
                f"give Architecture({name}={most})"
            )
    return _init(lanes, layout="auto", architecture=architecture)


def without_what_is_off(lanes: Lane) -> Lane:
    """Return lanes with None for what none of them has: programs then do without it."""
    hyper = lanes.hyperparameters
    off = [name for name in WITHOUT if not np.any(np.asarray(getattr(hyper, name)))]
    return lanes._replace(hyperparameters=hyper._replace(**dict.fromkeys(off)))


def validate(
    x: Float[Array, "N D"],
    params: Parameters,
    lanes: Lane,
    stage: str,
    architecture: Architecture,
    training: Training,
) -> ElboTerms:
    """Return the mean terms of the rows that score an epoch, an entry a lane; see `epoch.validate`."""
    settings = {"stage": stage, "architecture": architecture, "training": training}
    off = dict.fromkeys(WITHOUT)  # none of them has a part in it
    plain = lanes._replace(hyperparameters=lanes.hyperparameters._replace(**off))
    return _validate(params, x, plain, layout=training.layout, **settings)


def train(
    x: Float[Array, "N D"],
    params: Parameters,
    lanes: Lane,
    stage: str,
    architecture: Architecture,
    training: Training,
    on_block: Callable[[Progress], None] | None = None,
    keeper: Keeper | None = None,
) -> Trained:
    """Train every lane until it stops: VAE where `params.mixture` is None, else VaDE.

    Args:
        x: standardised rows, finite, shared by all lanes.
        params: starting parameters, stacked.
        lanes: keys and hyperparameters, stacked.
        stage: name of the stage; its draws descend from it.
        architecture: static sizes.
        training: batch, epochs, split, blocks, layout.
        on_block: called on the host when the stage begins and after every block.
        keeper: keeps the states after every block, and knows those that an earlier run kept: from there
            the stage goes on, to the result it would have had.
    """
    training = training.of_stage(pretraining=params.mixture is None)
    lanes = without_what_is_off(lanes)
    x = layouts.place(x, training.layout)
    states = _start(params, lanes, layout=training.layout, stage=stage, training=training)
    if keeper is not None:
        states = keeper.resume(stage, states)
    active = np.asarray(_active(states, lanes, training))

    run = partial(_block, layout=training.layout, architecture=architecture, training=training)
    n_steps = training.most_steps(x.shape[0])
    unpadded = layouts.resolve(training.layout) == "map" and n_steps >= LONG
    if unpadded:
        run = partial(_run_unpadded, architecture=architecture, training=training)

    at_first = np.asarray(states.epoch)
    begun = int(at_first.max())

    def report() -> None:
        if on_block is not None:
            epoch, loss = int(states.epoch.max()), np.asarray(states.best_loss)
            on_block(Progress(stage, begun, epoch, training.max_epochs, active, loss))

    try:
        report()
        # The blocks of a training that was not stopped, whatever epochs its lanes were left at.
        first = int(np.min(states.epoch, where=active, initial=training.max_epochs))
        first -= first % training.block_epochs
        for begin in range(first, training.max_epochs, training.block_epochs):
            if not active.any():
                break
            until = jnp.array(min(begin + training.block_epochs, training.max_epochs))
            index = np.arange(len(active)) if unpadded else compact(active, training.layout, n_steps)
            if len(index) == len(active):
                after = run(states, x, lanes, until)
            else:
                after = _put(states, index, run(_take(states, index), x, _take(lanes, index), until))
            active = np.asarray(_active(after, lanes, training))
            states = after
            if keeper is not None:
                keeper.keep(stage, states, "end" if not active.any() else "")
            report()
    except KeyboardInterrupt as stop:
        states = stop.states if isinstance(stop, Stopped) else states  # else up to the last whole block
        if keeper is not None and np.any(states.epoch > at_first):
            try:
                keeper.keep(stage, states, "stop")
            except OSError as error:  # what was kept before is still there
                warnings.warn(str(error), stacklevel=2)
        raise
    return Trained(
        params=states.best_params,
        history=states.history,
        n_epochs=states.epoch,
        best_loss=states.best_loss,
        converged=states.epochs_since_best >= lanes.hyperparameters.patience,
        finite=states.finite,
        best_epoch=states.epoch - 1 - states.epochs_since_best,
    )
