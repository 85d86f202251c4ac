"""The numerical core: pure functions of arrays, parameters and keys. JAX only, no tables."""
