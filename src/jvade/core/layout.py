"""How a stack of lanes shares a device."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jvade.core.settings import Layout

T = TypeVar("T")


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
    runs lane after lane: however many lanes there are, it is compiled once. Under "vmap" there is one wide
    program for each number of lanes.

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
        lanes = jax.tree.leaves([a for a, axis in zip(arguments, in_axes, strict=True) if axis is not None])

        def of_lane(lane: int) -> T:
            parts = (
                a if axis is None else take_lane(a, lane) for a, axis in zip(arguments, in_axes, strict=True)
            )
            return one(*parts, **static)

        results = [of_lane(lane) for lane in range(len(lanes[0]))]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

    return run
