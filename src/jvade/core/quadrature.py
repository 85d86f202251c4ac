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
#: Dimensions that are made independent of one another: not more than half as many as there are pairs.
GROUP = 32


@cache
def points(n_dims: int) -> Float[np.ndarray, "Q L"]:
    """Return points of equal weight that stand for N(0, I): the first are the same for more dimensions.

    Quasi-Monte-Carlo: the Kronecker sequence of the roots of the primes (Richtmyer 1951) through the normal
    quantiles, with the opposite of each point, brought to covariance I, `GROUP` dimensions at a time. So
    polynomials up to degree 3 are exact (of more latents, those in the latents of one group). A cubature
    of that degree has 2 L points and four times the error: near a border, responsibilities are far from a
    polynomial. One of degree 5 has negative weights, and gives no responsibilities; a tensor rule has m^L
    points.

    Largest error of a responsibility of 8 components, mean over 100 draws of mixture and row: 0.004 in 2
    latents, 0.011 in 4, 0.014 in 8, 0.02 in 30; that of the responsibilities at the mean: 0.13 to 0.31.
    """
    primes = [*islice((n for n in count(2) if all(n % m for m in range(2, n))), n_dims)]
    uniform = (np.arange(N_PAIRS)[:, None] + 0.5) * np.sqrt(primes) % 1
    half = np.vectorize(NormalDist().inv_cdf, otypes=[float])(uniform)
    for begin in range(0, n_dims, GROUP):
        part = half[:, begin : begin + GROUP]
        # The factor is triangular: no dimension depends on those after it.
        part[:] = np.linalg.solve(np.linalg.cholesky(part.T @ part / N_PAIRS), part.T).T
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
