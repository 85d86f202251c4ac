"""log p(x|z) per row, by kind of column, from the outputs of the decoder."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import entr
from jaxtyping import Array, Bool, Float

from jvade.core.layout import on_accelerator
from jvade.core.settings import Block, Real

LOG_2PI = math.log(2 * math.pi)
#: Noise variances that are learned are clamped to this range before use. A column that tells nothing would
#: else have a likelihood without bound.
NOISE_RANGE = (1e-3, 1e2)
LOG_NOISE_RANGE = (math.log(NOISE_RANGE[0]), math.log(NOISE_RANGE[1]))
#: Where variables are balanced, none is lifted more than so many times: rows of a rare code would drown all.
MOST_WEIGHT = 4.0


def gaussian(
    x: Float[Array, "N D"],
    means: Float[Array, "N D"],
    noise_variance: Real | Float[Array, " D"],
    weights: Float[Array, " D"] | None = None,
) -> Float[Array, " N"]:
    """Return sum_d log N(x_d; means_d, noise_variance_d), times its weight, natural log, per row."""
    logs = -0.5 * ((means - x) ** 2 / noise_variance + LOG_2PI + jnp.log(noise_variance))
    return _sum_wide(logs if weights is None else weights * logs)


def bernoulli(
    x: Float[Array, "N D"], logits: Float[Array, "N D"], weights: Float[Array, " D"] | None = None
) -> Float[Array, " N"]:
    """Return sum_d log Bernoulli(x_d; sigmoid logits_d), times its weight, natural log, per row."""
    logs = x * logits - jax.nn.softplus(logits)
    return jnp.sum(logs if weights is None else weights * logs, axis=-1)


def categorical(
    x: Float[Array, "N D"], logits: Float[Array, "N D"], weights: Float[Array, " D"] | None = None
) -> Float[Array, " N"]:
    """Return log p of one variable of D + 1 categories, natural log; that without a column has logit 0.

    Of a row that has several, which cannot be, the sum of the log p of each: never above 0. The columns of
    one variable have one weight.
    """
    logs = jnp.sum(x * logits, axis=-1) - jnp.maximum(1, jnp.sum(x, axis=-1)) * _log_normalizer(logits)
    return logs if weights is None else weights[0] * logs


def log_likelihood(
    x: Float[Array, "N D"],
    outputs: Float[Array, "N D"],
    blocks: Sequence[Block],
    noise_variances: Real | Float[Array, " G"],
    weights: Float[Array, " D"] | None = None,
) -> Float[Array, " N"]:
    """Return log p(x|z), natural log, per row.

    Args:
        x: rows; numbers standardised, 0/1 columns as they are.
        outputs: of the decoder: means of Gaussian columns, logits of the others.
        blocks: likelihoods of the columns.
        noise_variances: one for all Gaussian columns, or one for each.
        weights: of the columns, see `balanced`; None: 1, and it is a density.

    Returns:
        It has gradients by outputs and noise variances; those by rows and weights, which are data, are 0.
    """
    return _log_likelihood(tuple(blocks), x, outputs, jnp.asarray(noise_variances, outputs.dtype), weights)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_likelihood(
    blocks: tuple[Block, ...],
    x: Float[Array, "N D"],
    outputs: Float[Array, "N D"],
    noises: Float[Array, "*G"],
    weights: Float[Array, " D"] | None,
) -> Float[Array, " N"]:
    total = jnp.zeros((), x.dtype)
    for block, columns, gaussians in _places(blocks):
        part, out = x[:, columns], outputs[:, columns]
        weight = None if weights is None else weights[columns]
        if block.likelihood == "gaussian":
            total = total + gaussian(part, out, noises if noises.size == 1 else noises[gaussians], weight)
        else:
            of_kind = {"bernoulli": bernoulli, "categorical": categorical}[block.likelihood]
            total = total + of_kind(part, out, weight)
    return total


def _differential(
    blocks: tuple[Block, ...], arguments: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    """Return the log-likelihood, and its differential along outputs and noise variances alone.

    Rows and weights are data. Every kind is an exponential family, whose gradient is the row less its mean.
    Differentiated, the parts of the columns would be put together one by one: for few hidden units an eighth
    of a step on a CPU.
    """
    x, outputs, noises, weights = arguments
    _, along_outputs, along_noises, _ = tangents
    is_gaussian = _are_gaussian(blocks)
    numbers = np.flatnonzero(is_gaussian)
    variances = jnp.ones(len(is_gaussian), outputs.dtype).at[numbers].set(noises)
    factors = (1.0 if weights is None else weights) / variances
    residuals = x - _expected(outputs, blocks, x)
    total = jnp.zeros(len(x), outputs.dtype)
    if not isinstance(along_outputs, SymbolicZero):
        total = total + jnp.sum(factors * residuals * along_outputs, axis=-1)
    if not isinstance(along_noises, SymbolicZero):
        each = (factors * (residuals**2 / variances - 1) / 2)[:, numbers]
        total = total + jnp.sum(each * along_noises, axis=-1)
    return _log_likelihood(blocks, *arguments), total


_log_likelihood.defjvp(_differential, symbolic_zeros=True)


def balanced(
    x: Float[Array, "N D"], blocks: Sequence[Block], noise_variance: Real, balance: Real
) -> Float[Array, " D"]:
    """Return weights of the columns by which the variables count more alike than they do by themselves.

    A variable costs what is not known of it where only the means of the columns are, in nats a row: of a 0/1
    column and of categories their entropy, of a number its variance over twice the noise variance (beyond
    what the noise alone costs). Its weight is, up to one factor for all of them,

        (mean cost of a variable / its cost) ^ balance,  at most `MOST_WEIGHT`

    and the factor leaves all variables together as costly as they were: beside the KL terms nothing changes.
    At 0 the likelihood is as it is, at 1 all variables cost the same, but for rare codes. A column of one
    value costs nothing, whatever its weight. Without blocks every column is a variable.

    Args:
        x: all rows of the fit.
        blocks: likelihoods of the columns.
        noise_variance: of the Gaussian columns; where it is learned, the one that it starts from.
        balance: in [0, 1].
    """
    means, each = jnp.mean(x, axis=0), []
    for block, columns, _ in _places(blocks):
        p = jnp.clip(means[columns], 0, 1)
        if block.likelihood == "gaussian":
            each.append((jnp.var(x[:, columns], axis=0) / (2 * noise_variance), 1))
        elif block.likelihood == "bernoulli":
            each.append((entr(p) + entr(1 - p), 1))
        else:
            each.append((jnp.sum(entr(p))[None] + entr(jnp.clip(1 - jnp.sum(p), 0, 1)), block.width))
    costs = jnp.concatenate([cost for cost, _ in each])
    told = costs > 1e-6
    mean = jnp.sum(costs) / jnp.maximum(jnp.sum(told), 1)
    ratios = jnp.where(told, mean / jnp.maximum(costs, 1e-6), 1.0)
    # 1 to the power of NaN is 1, and a lane that starts with NaN is to be reported.
    weights = jnp.minimum(ratios**balance, MOST_WEIGHT) + 0 * balance
    weights = weights * jnp.sum(costs) / jnp.maximum(jnp.sum(weights * costs), 1e-6)
    widths = np.concatenate([np.full(cost.shape, width) for cost, width in each])
    return jnp.repeat(weights, widths, total_repeat_length=x.shape[1])


def means(outputs: Float[Array, "N D"], blocks: Sequence[Block]) -> Float[Array, "N D"]:
    """Return the mean of p(x|z) from the outputs of the decoder."""
    return _expected(outputs, blocks)


def _expected(
    outputs: Float[Array, "N D"], blocks: Sequence[Block], x: Float[Array, "N D"] | None = None
) -> Float[Array, "N D"]:
    """Return the mean of p(x|z); of a variable of which a given row has several codes, that many times it."""

    def log_normalizer(block: Block, columns: slice) -> Array:
        out = outputs[:, columns]
        if block.likelihood == "gaussian":
            return out  # whatever is finite less itself: its exponential is not looked at
        if block.likelihood == "bernoulli":
            return jax.nn.softplus(out)
        norm = _log_normalizer(out)
        if x is not None:
            norm = norm - jnp.log(jnp.maximum(1, jnp.sum(x[:, columns], axis=-1)))
        return jnp.broadcast_to(norm[:, None], out.shape)

    is_gaussian = _are_gaussian(blocks)
    if is_gaussian.all():
        return outputs
    # Exponentials of all columns at once, when what they are taken of stands side by side.
    norms = [log_normalizer(block, columns) for block, columns, _ in _places(blocks)]
    return jnp.where(is_gaussian, outputs, jnp.exp(outputs - jnp.concatenate(norms, axis=1)))


def _are_gaussian(blocks: Sequence[Block]) -> Bool[np.ndarray, " D"]:
    return np.repeat([block.likelihood == "gaussian" for block in blocks], [block.width for block in blocks])


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


def _sum_wide(x: Float[Array, "N D"]) -> Float[Array, " N"]:
    """Return the sum of each row: on a CPU as a product, for many columns in half the time.

    A GPU would round the factors of one.
    """
    return jnp.sum(x, axis=-1) if on_accelerator() else x @ jnp.ones(x.shape[-1], x.dtype)


def _log_normalizer(logits: Float[Array, "N D"]) -> Float[Array, " N"]:
    return jax.nn.logsumexp(jnp.pad(logits, ((0, 0), (0, 1))), axis=-1)


def _places(blocks: Sequence[Block]) -> Iterator[tuple[Block, slice, slice]]:
    """Yield each block with its columns, and their places among the Gaussian ones."""
    begin = first = 0
    for block in blocks:
        yield block, slice(begin, begin + block.width), slice(first, first + block.width)
        begin += block.width
        first += block.width * (block.likelihood == "gaussian")
