"""How a stack of lanes shares a device."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jvade.core.settings import Layout

T = TypeVar("T")

#: Lanes under way at once under "map": what one of them leaves idle of the cores, the next one takes.
THREADS = os.cpu_count() or 1


def resolve(layout: Layout) -> Layout:
    """Return the layout in force: "map" on a CPU, where a lane alone uses the caches best, else "vmap"."""
    if layout != "auto":
        return layout
    return "map" if jax.default_backend() == "cpu" else "vmap"


def rows_at_once() -> int:
    """Return how many rows of a table to work on at once: few enough for the caches of a CPU's core."""
    return 4096 if jax.default_backend() == "cpu" else 131_072


def take_lane(stack: T, lane: int | Int[Array, ""]) -> T:
    """Return one lane of anything stacked: lanes, parameters, results."""
    return jax.tree.map(lambda leaf: leaf[lane], stack)


def over_lanes(
    function: Callable[..., T],
    in_axes: tuple[int | None, ...],
    static_argnames: tuple[str, ...] = (),
    donate_argnums: tuple[int, ...] = (),
) -> Callable[..., T]:
    """Return a function of one lane, compiled, as a function of a stack of lanes.

    It takes the same arguments, the static ones by name, and `layout`. Under "map" the program of one lane
    runs for each of them, as many at a time as there are cores: however many lanes there are, it is compiled
    once. Under "vmap" there is one wide program for each number of lanes.

    Args:
        function: of one lane.
        in_axes: of each positional argument: 0 where it is stacked, None where the lanes share it.
        static_argnames: arguments that shape the program.
        donate_argnums: arguments whose memory the result may take.
    """
    compiled = partial(jax.jit, static_argnames=static_argnames, donate_argnums=donate_argnums)
    one = compiled(function)

    @compiled
    @wraps(function)
    def all_lanes(*arguments: Any, **static: Any) -> T:
        return jax.vmap(partial(function, **static), in_axes)(*arguments)

    def run(*arguments: Any, layout: Layout, **static: Any) -> T:
        if resolve(layout) == "vmap":
            return all_lanes(*arguments, **static)
        stacked = next(a for a, axis in zip(arguments, in_axes, strict=True) if axis is not None)
        n_lanes = len(jax.tree.leaves(stacked)[0])
        lanes = [
            [jax.device_put(a)] * n_lanes if axis is None else split_lanes(a, n_lanes)
            for a, axis in zip(arguments, in_axes, strict=True)
        ]
        each = list(zip(*lanes, strict=True))
        # Compiled here: a thread of the pool would not know of settings that hold in this one, as x64 may.
        program = one.lower(*each[0], **static).compile()
        with ThreadPoolExecutor(min(n_lanes, THREADS)) as pool:
            return stack_lanes(list(pool.map(lambda parts: jax.block_until_ready(program(*parts)), each)))

    return run


def split_lanes(stack: T, n_lanes: int) -> list[T]:
    """Return each lane of anything stacked; taken apart on the host, as only keys need a program."""
    leaves, structure = jax.tree.flatten(stack)
    plain = [leaf if _is_key(leaf) else np.asarray(leaf) for leaf in leaves]
    return [
        jax.device_put(jax.tree.unflatten(structure, [leaf[lane] for leaf in plain]))
        for lane in range(n_lanes)
    ]


def stack_lanes(lanes: Sequence[T]) -> T:
    """Return lanes stacked; on the host, where each shape of a leaf would be a program of its own."""

    def one_leaf(*leaves: Any) -> Array:
        if _is_key(leaves[0]):
            return jnp.stack(leaves)
        return jnp.asarray(np.stack([np.asarray(leaf) for leaf in leaves]))

    return jax.tree.map(one_leaf, *lanes)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
