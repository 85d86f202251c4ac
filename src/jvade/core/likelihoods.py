"""log p(x|z) per row, by kind of decoder."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from jvade.core.settings import Real

LOG_2PI = math.log(2 * math.pi)


def gaussian(x: Float[Array, "N D"], means: Float[Array, "N D"], noise_variance: Real) -> Float[Array, " N"]:
    """Return sum_d log N(x_d; means_d, noise_variance), natural log, per row."""
    squares = jnp.sum((means - x) ** 2, axis=-1)
    return -0.5 * (squares / noise_variance + x.shape[-1] * (LOG_2PI + jnp.log(noise_variance)))
