"""jvade: deep probabilistic clustering of outpatient visits, in JAX."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jvade.clustering import PAPER, ROBUST, Clustering, Configuration, cluster
    from jvade.ensemble import place
    from jvade.health import Health, examine
    from jvade.sweeps import Sweep, sweep

__all__ = [
    "PAPER",
    "ROBUST",
    "Clustering",
    "Configuration",
    "Health",
    "Sweep",
    "cluster",
    "examine",
    "place",
    "sweep",
]
__version__ = "0.1.0"

_ELSEWHERE = {
    "Health": "health",
    "examine": "health",
    "place": "ensemble",
    "Sweep": "sweeps",
    "sweep": "sweeps",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for: tables alone, as on a worker of Spark, do without JAX."""
    if name not in __all__:
        raise AttributeError(f"module 'jvade' has no attribute '{name}'")
    return getattr(import_module(f"jvade.{_ELSEWHERE.get(name, 'clustering')}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
