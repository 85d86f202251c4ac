"""How a stack of lanes shares a device."""

from collections.abc import Callable
from typing import TypeVar

import jax
from jaxtyping import Array, Int

from jvade.core.settings import Layout

T = TypeVar("T")


def resolve(layout: Layout) -> Layout:
    """Return the layout in force: "map" on a CPU, where a lane alone uses the caches best, else "vmap"."""
    if layout != "auto":
        return layout
    return "map" if jax.default_backend() == "cpu" else "vmap"


def over_lanes(function: Callable[..., T], layout: Layout) -> Callable[..., T]:
    """Map a function of one lane over the leading axis of all its arguments."""
    if resolve(layout) == "vmap":
        return jax.vmap(function)
    return lambda *stacks: jax.lax.map(lambda one: function(*one), stacks)


def take_lane(stack: T, lane: int | Int[Array, ""]) -> T:
    """Return one lane of anything stacked: lanes, parameters, results."""
    return jax.tree.map(lambda leaf: leaf[lane], stack)
