"""Expectations over q(z|x) by a rule: the same points for every row, without randomness of their own."""

from collections.abc import Callable
from functools import cache
from itertools import count, islice
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

#: Points of the rule, in pairs of opposites.
N_PAIRS = 64
#: Pairs there must be for a dimension: with fewer, points far out would carry the sums.
PAIRS_OF_A_DIM = 2
MAX_DIMS = N_PAIRS // PAIRS_OF_A_DIM


@cache
def points(n_dims: int, n_pairs: int = N_PAIRS) -> Float[np.ndarray, "Q L"]:
    """Return points of equal weight that stand for N(0, I): of as many, the first are the same for more dims.

    Quasi-Monte-Carlo: the Kronecker sequence of the roots of the primes (Richtmyer 1951) through the normal
    quantiles, with the opposite of each point, brought to covariance I. So polynomials up to degree 3 are
    exact. A cubature of that degree has 2 L points, and misses more of responsibilities, which near a border
    are far from a polynomial. One of degree 5 has negative weights, and gives no responsibilities; a tensor
    rule has m^L points. How far responsibilities are off at the most is held by the tests
    (tests/core/test_quadrature.py): 0.01 in 2 latents, 0.02 in 4, 0.03 in 8.

    Raises:
        ValueError: too many dimensions for so few points.
    """
    if n_dims > (most := n_pairs // PAIRS_OF_A_DIM):
        raise ValueError(f"quadrature: expected at most {most} latents, got {n_dims}")
    primes = [*islice((n for n in count(2) if all(n % m for m in range(2, n))), n_dims)]
    uniform = (np.arange(n_pairs)[:, None] + 0.5) * np.sqrt(primes) % 1
    half = np.vectorize(NormalDist().inv_cdf, otypes=[float])(uniform)
    # The factor is triangular: no dimension depends on those after it.
    half = np.linalg.solve(np.linalg.cholesky(half.T @ half / n_pairs), half.T).T
    found = np.concatenate([half, -half])
    found.setflags(write=False)  # the one array for all who ask
    return found


def expectation(
    function: Callable[[Float[Array, "N L"]], Float[Array, "N K"]],
    means: Float[Array, "N L"],
    variances: Float[Array, "N L"],
) -> Float[Array, "N K"]:
    """Return E[function(z)] for z ~ N(means, diag variances), row by row; as exact as `points`."""
    each = jnp.asarray(points(means.shape[1]), means.dtype)
    sds = jnp.sqrt(variances)

    def add(total: Array, point: Array) -> tuple[Array, None]:
        return total + function(means + sds * point), None

    # One point after the other: memory does not grow with them.
    total, _ = jax.lax.scan(add, function(means + sds * each[0]), each[1:])
    return total / len(each)
