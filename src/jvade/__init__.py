"""jvade: deep probabilistic clustering of outpatient visits, in JAX."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jvade.version import __version__ as __version__

if TYPE_CHECKING:
    from jvade.clustering import PAPER, ROBUST, Clustering, Configuration, cluster
    from jvade.ensemble import place
    from jvade.estimator import VaDE, from_sweep
    from jvade.health import Health, examine
    from jvade.model_file import load, save
    from jvade.sweeps import Sweep, sweep

__all__ = [
    "PAPER",
    "ROBUST",
    "Clustering",
    "Configuration",
    "Health",
    "Sweep",
    "VaDE",
    "cluster",
    "examine",
    "from_sweep",
    "load",
    "place",
    "save",
    "sweep",
]

_ELSEWHERE = {
    "Health": "health",
    "examine": "health",
    "VaDE": "estimator",
    "from_sweep": "estimator",
    "load": "model_file",
    "save": "model_file",
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
