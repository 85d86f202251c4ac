"""log p(x|z) per row, by kind of column, from the outputs of the decoder."""

import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jvade.core.settings import Block, Real

LOG_2PI = math.log(2 * math.pi)
#: Noise variances that are learned are clamped to this range before use. A column that tells nothing would
#: else have a likelihood without bound.
NOISE_RANGE = (1e-3, 1e2)
LOG_NOISE_RANGE = (math.log(NOISE_RANGE[0]), math.log(NOISE_RANGE[1]))


def gaussian(
    x: Float[Array, "N D"], means: Float[Array, "N D"], noise_variance: Real | Float[Array, " D"]
) -> Float[Array, " N"]:
    """Return sum_d log N(x_d; means_d, noise_variance_d), natural log, per row."""
    n_columns = x.shape[-1]
    if jnp.size(noise_variance) == 1:
        squares = jnp.sum((means - x) ** 2, axis=-1) / noise_variance
        logs = n_columns * (LOG_2PI + jnp.log(noise_variance))
    else:
        squares = jnp.sum((means - x) ** 2 / noise_variance, axis=-1)
        logs = jnp.sum(LOG_2PI + jnp.log(noise_variance))
    return -0.5 * (squares + logs)


def bernoulli(x: Float[Array, "N D"], logits: Float[Array, "N D"]) -> Float[Array, " N"]:
    """Return sum_d log Bernoulli(x_d; sigmoid logits_d), natural log, per row."""
    return jnp.sum(x * logits - jax.nn.softplus(logits), axis=-1)


def categorical(x: Float[Array, "N D"], logits: Float[Array, "N D"]) -> Float[Array, " N"]:
    """Return log p of one variable of D + 1 categories, natural log; that without a column has logit 0.

    Of a row that has several, which cannot be, the sum of the log p of each: never above 0.
    """
    return jnp.sum(x * logits, axis=-1) - jnp.maximum(1, jnp.sum(x, axis=-1)) * _log_normalizer(logits)


def log_likelihood(
    x: Float[Array, "N D"],
    outputs: Float[Array, "N D"],
    blocks: Sequence[Block],
    noise_variances: Real | Float[Array, " G"],
) -> Float[Array, " N"]:
    """Return log p(x|z), natural log, per row.

    Args:
        x: rows; numbers standardised, 0/1 columns as they are.
        outputs: of the decoder: means of Gaussian columns, logits of the others.
        blocks: likelihoods of the columns.
        noise_variances: one for all Gaussian columns, or one for each.
    """
    total = jnp.zeros((), x.dtype)
    for block, columns, gaussians in _places(blocks):
        part, out = x[:, columns], outputs[:, columns]
        if block.likelihood == "gaussian":
            own = noise_variances if jnp.size(noise_variances) == 1 else noise_variances[gaussians]  # type: ignore[index]
            total = total + gaussian(part, out, own)
        else:
            total = total + {"bernoulli": bernoulli, "categorical": categorical}[block.likelihood](part, out)
    return total


def means(outputs: Float[Array, "N D"], blocks: Sequence[Block]) -> Float[Array, "N D"]:
    """Return the mean of p(x|z) from the outputs of the decoder."""

    def one(block: Block, out: Float[Array, "N W"]) -> Float[Array, "N W"]:
        if block.likelihood == "gaussian":
            return out
        if block.likelihood == "bernoulli":
            return jax.nn.sigmoid(out)
        return jnp.exp(out - _log_normalizer(out)[:, None])

    return jnp.concatenate([one(block, outputs[:, columns]) for block, columns, _ in _places(blocks)], axis=1)


def draw(
    rng: np.random.Generator,
    means: Float[np.ndarray, "N D"],
    blocks: Sequence[Block],
    noise_variances: Float[np.ndarray, "*G"],
) -> Float[np.ndarray, "N D"]:
    """Return a row of p(x|z) for each mean, as `means` has them; on the host."""
    rows = np.zeros(means.shape)
    for block, columns, gaussians in _places(blocks):
        mean = means[:, columns].astype(float)
        if block.likelihood == "gaussian":
            own = noise_variances if noise_variances.size == 1 else noise_variances[gaussians]
            rows[:, columns] = mean + np.sqrt(own) * rng.normal(size=mean.shape)
        elif block.likelihood == "bernoulli":
            rows[:, columns] = rng.random(mean.shape) < mean
        else:
            # The first category whose cumulated probability is above a uniform draw; beyond all: none.
            drawn = (mean.cumsum(axis=1) <= rng.random((len(mean), 1))).sum(axis=1)
            rows[:, columns] = drawn[:, None] == np.arange(block.width)
    return rows


def _log_normalizer(logits: Float[Array, "N D"]) -> Float[Array, " N"]:
    return jax.nn.logsumexp(jnp.pad(logits, ((0, 0), (0, 1))), axis=-1)


def _places(blocks: Sequence[Block]) -> Iterator[tuple[Block, slice, slice]]:
    """Yield each block with its columns, and their places among the Gaussian ones."""
    begin = first = 0
    for block in blocks:
        yield block, slice(begin, begin + block.width), slice(first, first + block.width)
        begin += block.width
        first += block.width * (block.likelihood == "gaussian")
