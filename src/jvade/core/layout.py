"""How a stack of lanes shares a device."""

from collections.abc import Callable
from typing import TypeVar

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


def over_lanes(one: Callable[..., T], wide: Callable[..., T], layout: Layout) -> Callable[..., T]:
    """Return a compiled function of one lane as a function of a stack of lanes.

    Under "map" the program of one lane runs lane after lane: however many lanes there are, it is compiled
    once. Under "vmap" there is one wide program for each number of lanes.

    Args:
        one: of one lane, compiled.
        wide: of a stack, compiled.
        layout: which of them a device likes better.
    """
    if resolve(layout) == "vmap":
        return wide

    def each(*stacks: object) -> T:
        n_lanes = len(jax.tree.leaves(stacks)[0])
        results = [one(*(take_lane(stack, i) for stack in stacks)) for i in range(n_lanes)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

    return each
