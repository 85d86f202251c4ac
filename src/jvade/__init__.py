"""jvade: deep probabilistic clustering of outpatient visits, in JAX."""

__version__ = "0.1.0"
