"""How a stack of lanes shares a device, or several.

Under "vmap" every device there is takes part: they form a grid of lanes by rows. The lanes are parted among
as many devices as there are lanes (the stack is filled up with copies, so that they come out even); what
devices are left share the rows of every batch, so one lane alone is trained by all. Each device holds all
visits; results come back whole to every device, and to every process of `jax.distributed`.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from functools import partial, wraps
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from jvade.core.settings import Layout

S = TypeVar("S")
T = TypeVar("T")
#: Positional arguments of a compiled function, and the static ones by name.
Call = tuple[tuple[Any, ...], dict[str, Any]]

#: Cores this process may use, and lanes under way at once under "map": what one of them leaves idle of the
#: cores, the next one takes.
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
#: Compiled programs that are kept for the next call.
MOST_PROGRAMS = 64
_programs: dict[Any, Any] = {}
_lanes_at_once: ContextVar[int] = ContextVar("_lanes_at_once", default=1)
_row_parts: ContextVar[int] = ContextVar("_row_parts", default=1)
#: One program of all devices at a time: those of two threads would wait for each other's devices for ever.
_all_devices = Lock()
#: Share of the memory maps a process may have from which on programs are forgotten.
MAPS_SHARE = 0.5


def on_accelerator() -> bool:
    """Return whether programs run on something other than a CPU."""
    return jax.default_backend() != "cpu"


def on_hopper() -> bool:
    """Return whether programs run on one GPU of the kind that was tried: NVIDIA's compute capability 9."""
    tried = str(getattr(_device(), "compute_capability", "")).startswith("9.")
    return tried and jax.sharding.get_abstract_mesh().empty


def _device() -> Any:
    """Return the device that programs run on, where arrays and layout leave it open."""
    return getattr(jax.config, "jax_default_device", None) or jax.devices()[0]


def part_cpu() -> None:
    """Have JAX take a CPU of several cores for two devices, which may share a long lane that is alone.

    For whoever owns the process, before JAX computes anything. Later, or where a person has said how many
    devices a CPU is to be (JAX_NUM_CPU_DEVICES, XLA_FLAGS), nothing changes. With more than two, each would
    have few rows of a batch.
    """
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if THREADS == 1 or told or jax.config.jax_num_cpu_devices != -1:  # pyright: ignore[reportAttributeAccessIssue]
        return
    with suppress(RuntimeError):  # JAX has begun
        jax.config.update("jax_num_cpu_devices", 2)


def cpu_is_parted() -> bool:
    """Return whether the devices of this process, and of no other, are parts of a CPU."""
    return jax.device_count() > 1 and jax.process_count() == 1 and not on_accelerator()


def resolve(layout: Layout) -> Layout:
    """Return the layout in force: "map" on a CPU, where a lane alone uses the caches best, else "vmap"."""
    if layout != "auto":
        return layout
    return "vmap" if on_accelerator() else "map"


def rows_at_once() -> int:
    """Return how many rows of a table to work on at once: few enough for the caches of a CPU's core."""
    return 131_072 if on_accelerator() else 4096


def steps_at_once(batch_size: int) -> int:
    """Return of how many steps to draw rows and noise at once: not too many rows, and few small programs."""
    return min(128, max(1, 131_072 // batch_size)) if on_accelerator() else 16


def lanes_at_once() -> int:
    """Return how many lanes are being traced side by side, in one program."""
    return _lanes_at_once.get()


def _grid(n_lanes: int) -> tuple[int, int]:
    """Return among how many devices the lanes are parted, and the rows of each of these parts."""
    n_devices = jax.device_count()
    of_lanes = max(n for n in range(1, min(n_lanes, n_devices) + 1) if n_devices % n == 0)
    return of_lanes, n_devices // of_lanes


def _mesh(shape: tuple[int, int]) -> Mesh:
    return jax.make_mesh(shape, ("lanes", "rows"), axis_types=(AxisType.Auto,) * 2)


def place(tree: T, layout: Layout) -> T:
    """Return arrays where the layout wants them: under "vmap" on every device, sent once.

    Every process of several has the same arrays.
    """
    if resolve(layout) == "map" or jax.device_count() == 1:
        return jax.tree.map(jnp.asarray, tree)
    everywhere = NamedSharding(_mesh((1, jax.device_count())), PartitionSpec())
    several = jax.process_count() > 1

    def send(leaf: Any) -> Array:
        if _is_key(leaf):
            if several:  # only one process can send it as it is
                return jax.random.wrap_key_data(
                    send(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf)
                )
        elif isinstance(leaf, Array) and leaf.is_fully_addressable and (several or not on_accelerator()):
            # Another process cannot see it where it is; the devices of a CPU then share the one array.
            leaf = np.asarray(leaf)
        return jax.device_put(leaf, everywhere)

    return jax.tree.map(send, tree)


def row_parts() -> int:
    """Return among how many devices the rows of a batch are parted, in the program being traced."""
    return _row_parts.get()


def spread_rows(x: T, axis: int) -> T:
    """Return the rows along an axis that are this device's: all, or an equal part, filled up with zeros."""
    parts = row_parts()

    def own(leaf: Array) -> Array:
        n_own = -(-leaf.shape[axis] // parts)
        fill = [(0, 0)] * leaf.ndim
        fill[axis] = 0, n_own * parts - leaf.shape[axis]
        begin = jax.lax.axis_index("rows") * n_own
        return jax.lax.dynamic_slice_in_dim(jnp.pad(leaf, fill), begin, n_own, axis)

    return x if parts == 1 else jax.tree.map(own, x)


def sum_rows(x: T) -> T:
    """Return the sums over all devices of what each has summed over its rows."""
    return x if row_parts() == 1 else jax.lax.psum(x, "rows")


def max_rows(x: T) -> T:
    """Return the largest over all devices of what each has found among its rows; it has no gradient."""
    x = jax.lax.stop_gradient(x)
    return x if row_parts() == 1 else jax.lax.pmax(x, "rows")


def take_lane(stack: T, lane: int | slice | Int[Array, "*lanes"] | Int[np.ndarray, " S"]) -> T:
    """Return one lane, or some, of anything stacked: lanes, parameters, results."""
    return jax.tree.map(lambda leaf: leaf[lane], stack)


def on_all_devices(function: Callable[..., T], in_axes: tuple[int | None, ...]) -> Callable[..., T]:
    """Return a function of one lane as one of a stack, which all devices share: to be compiled.

    Calls of what it is compiled to must not overlap; see `over_lanes`.
    """

    @wraps(function)
    def run(*arguments: Any, **static: Any) -> T:
        n_lanes = _count_lanes(arguments, in_axes)
        mesh = _mesh(_grid(n_lanes))
        filled = np.arange(-(-n_lanes // mesh.shape["lanes"]) * mesh.shape["lanes"]) % n_lanes

        def on_one(*own: Any) -> T:
            before = _row_parts.set(mesh.shape["rows"])
            try:
                if len(filled) > mesh.shape["lanes"]:
                    return jax.vmap(partial(function, **static), in_axes)(*own)
                one = (a if axis is None else take_lane(a, 0) for a, axis in zip(own, in_axes, strict=True))
                return jax.tree.map(lambda leaf: leaf[None], function(*one, **static))
            finally:
                _row_parts.reset(before)

        where = tuple(PartitionSpec() if axis is None else PartitionSpec("lanes") for axis in in_axes)
        # Without its checks: they would have every sum of a loop say which devices it differs between.
        spread = jax.shard_map(
            on_one, mesh=mesh, in_specs=where, out_specs=PartitionSpec("lanes"), check_vma=False
        )
        found = spread(
            *(a if axis is None else take_lane(a, filled) for a, axis in zip(arguments, in_axes, strict=True))
        )
        everywhere = NamedSharding(mesh, PartitionSpec())
        return jax.lax.with_sharding_constraint(take_lane(found, slice(n_lanes)), everywhere)

    return run


def _count_lanes(arguments: tuple[Any, ...], in_axes: tuple[int | None, ...]) -> int:
    stacked = next(a for a, axis in zip(arguments, in_axes, strict=True) if axis is not None)
    return len(jax.tree.leaves(stacked)[0])


def over_lanes(
    function: Callable[..., T],
    in_axes: tuple[int | None, ...],
    static_argnames: tuple[str, ...] = (),
) -> Callable[..., T]:
    """Return a function of one lane, compiled, as a function of a stack of lanes.

    It takes the same arguments, the static ones by name, and `layout`. Under "map" the program of one lane
    runs for each of them, as many at a time as there are cores: however many lanes there are, it is compiled
    once. Under "vmap" there is one wide program for each number of lanes.

    Args:
        function: of one lane.
        in_axes: of each positional argument: 0 where it is stacked, None where the lanes share it.
        static_argnames: arguments that shape the program.
    """
    compiled = partial(jax.jit, static_argnames=static_argnames)
    one, shared = compiled(function), compiled(on_all_devices(function, in_axes))

    @compiled
    @wraps(function)
    def all_lanes(*arguments: Any, **static: Any) -> T:
        before = _lanes_at_once.set(_count_lanes(arguments, in_axes))
        try:
            return jax.vmap(partial(function, **static), in_axes)(*arguments)
        finally:
            _lanes_at_once.reset(before)

    def run(*arguments: Any, layout: Layout, **static: Any) -> T:
        n_lanes = _count_lanes(arguments, in_axes)
        if resolve(layout) == "vmap" and jax.device_count() > 1:
            with _all_devices:
                return jax.block_until_ready(shared(*place(arguments, layout), **static))
        if resolve(layout) == "vmap":
            return all_lanes(*arguments, **static)
        lanes = [
            [jax.device_put(a)] * n_lanes if axis is None else split_lanes(a, n_lanes)
            for a, axis in zip(arguments, in_axes, strict=True)
        ]
        each = list(zip(*lanes, strict=True))
        return stack_lanes(side_by_side(one, [(parts, static) for parts in each]))

    return run


def side_by_side(function: Any, calls: Sequence[Call]) -> list[Any]:
    """Return what a compiled function makes of each of some arguments, as many at a time as there are cores.

    Args:
        function: as `jax.jit` returns it.
        calls: where the static arguments are alike, so are the shapes of the others.
    """
    with ThreadPoolExecutor(min(len(calls), THREADS)) as pool:
        return list(pool.map(as_precise(compiled(function, calls)), calls))


def compiled(function: Any, calls: Sequence[Call], quickly: bool = True) -> Callable[[Call], Any]:
    """Return what makes a call, in any thread, of those that `side_by_side` takes and others of their shapes.

    Compiled here: a thread of a pool does not know of settings that hold in this one.

    Args:
        function: see `side_by_side`.
        calls: see `side_by_side`.
        quickly: compile in less time, to a program that may be a little slower: for all but long trainings.
    """
    each = {frozenset(static.items()): (arguments, static) for arguments, static in calls}
    programs = {name: _program(function, *one, quickly) for name, one in each.items()}

    def call(one: Call) -> Any:
        arguments, static = one
        return jax.block_until_ready(programs[frozenset(static.items())](*arguments))

    return call


def as_precise(function: Callable[[S], T]) -> Callable[[S], T]:
    """Return a function that computes in a thread of a pool as precisely as in this one.

    Other threads do not know of x64 here: what comes from the host would be cut to single precision.
    """
    x64 = _is_double()

    def call(argument: S) -> T:
        with jax.enable_x64(x64):
            return function(argument)

    return call


def _program(function: Any, arguments: tuple[Any, ...], static: dict[str, Any], quickly: bool) -> Any:
    """Return a function compiled for some arguments, from the last `MOST_PROGRAMS` if it is there.

    The second training of a shape compiles nothing.
    """
    leaves, structure = jax.tree.flatten(arguments)
    # What a leaf is says what holds in this thread too: under x64 other programs are asked for.
    here = _is_double(), _device()
    key = (function, frozenset(static.items()), structure, *map(jax.typeof, leaves), here, quickly)
    found = _programs.pop(key, None)
    if found is None:
        _make_room()
        found = function.lower(*arguments, **static).compile(_options(quickly))
    _programs[key] = found
    while len(_programs) > MOST_PROGRAMS:
        _programs.pop(next(iter(_programs)))  # the one not used for the longest
    return found


def _is_double() -> bool:
    """Return whether this thread computes in double precision."""
    return jnp.zeros(0).dtype.itemsize == 8


def _options(quickly: bool) -> dict[str, int] | None:
    """Return how XLA is to compile, where that is not as it always does or as a person's XLA_FLAGS say.

    At the first level of LLVM's optimiser a training compiles in three quarters of the time, and so does the
    start of a mixture; steps of a training are as fast, or 5 % slower, EM is as fast (experiments).
    """
    level = "xla_backend_optimization_level"
    own = on_accelerator() or level in os.environ.get("XLA_FLAGS", "")
    return {level: 1} if quickly and not own else None


def _make_room() -> None:
    """Forget what was compiled before the memory maps of this process run out.

    A program of XLA on a CPU takes hundreds of them, and Linux ends a process that asks for more than it may
    have: some 40 fits of different shapes, as in a grid search. What is needed again is compiled again.
    """
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        with Path("/proc/self/maps").open("rb") as maps:
            n_maps = sum(1 for _ in maps)
    except OSError:  # not Linux
        return
    if n_maps > MAPS_SHARE * most:
        _programs.clear()
        jax.clear_caches()


def split_lanes(stack: T, n_lanes: int) -> list[T]:
    """Return each lane of anything stacked; on the host, but for keys, as only these need a program."""
    leaves, structure = jax.tree.flatten(stack)
    plain = [leaf if _is_key(leaf) else np.asarray(leaf) for leaf in leaves]
    return [jax.tree.unflatten(structure, [leaf[lane] for leaf in plain]) for lane in range(n_lanes)]


def stack_lanes(lanes: Sequence[T]) -> T:
    """Return lanes stacked; on the host, where each shape of a leaf would be a program of its own."""

    def one_leaf(*leaves: Any) -> Array:
        if _is_key(leaves[0]):
            return jnp.stack(leaves)
        return jax.device_put(np.stack([np.asarray(leaf) for leaf in leaves]))

    return jax.tree.map(one_leaf, *lanes)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
