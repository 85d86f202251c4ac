"""jvade: deep probabilistic clustering of outpatient visits, in JAX."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jvade.sweeps import Sweep, sweep

__all__ = ["Sweep", "sweep"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load what is asked for: tables alone, as on a worker of Spark, do without JAX."""
    if name not in __all__:
        raise AttributeError(f"module 'jvade' has no attribute '{name}'")
    from jvade import sweeps

    return getattr(sweeps, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
