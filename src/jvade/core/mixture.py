"""The Gaussian mixture over latents: p(z) = sum_c pi_c N(z; mu_c, Sigma_c).

In the study Sigma_c is diagonal, diag sigma_c^2. A full one is kept as that and A_c, unit lower triangular,
with A_c Sigma_c A_c' = diag sigma_c^2: sigma_c^2 is what is left of the variance of a latent once those
before it are known. So every A makes a mixture, A = I the diagonal one, and no latent hangs on later ones.

Weights are stored as logits and variances as log-variances, so every value of the parameters is a
mixture. Everything stays in log space. Clusters and latents beyond those in use are masked: a padded
mixture gives the numbers of the unpadded one, and zero responsibility to the padding.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jvade.core import quadrature
from jvade.core.layout import on_accelerator
from jvade.core.likelihoods import LOG_2PI
from jvade.core.settings import Count

#: Log-variances are clamped to this range before use: sigma between 1e-4 and 1e4.
LOG_VARIANCE_RANGE = (-18.42, 18.42)
#: Log weight of a padded cluster. Finite, so that 0 * log 0 stays 0 and gradients stay finite.
NEVER = -1e30


class Mixture(NamedTuple):
    """Parameters of the mixture; `logits` need not be normalised.

    Of `shears`, A of each component, what lies below the diagonal counts; None: all are diagonal.
    """

    logits: Float[Array, " K"]
    means: Float[Array, "K L"]
    log_variances: Float[Array, "K L"]
    shears: Float[Array, "K L L"] | None = None

    def to_arrays(self) -> dict[str, Array]:
        """Return what there is of it, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def standard_normal(latent_dim: int) -> Mixture:
    """Return N(0, I) as a mixture of one: the prior of the VAE pretraining."""
    return Mixture(jnp.zeros(1), jnp.zeros((1, latent_dim)), jnp.zeros((1, latent_dim)))


def mask(size: int, in_use: Count | None) -> Bool[Array, " size"]:
    """Return which of `size` padded places are in use; None means all."""
    return jnp.arange(size) < (size if in_use is None else in_use)


def log_weights(mixture: Mixture, n_clusters: Count | None = None) -> Float[Array, " K"]:
    """Return log pi_c; `NEVER` for padded clusters."""
    in_use = mask(mixture.logits.shape[0], n_clusters)
    return jax.nn.log_softmax(jnp.where(in_use, mixture.logits, NEVER))


def expected_log_normal(
    means: Float[Array, "N L"],
    variances: Float[Array, "N L"] | None,
    mixture: Mixture,
    latent_dim: Count | None = None,
) -> Float[Array, "N K"]:
    """Return E[log N(z; mu_c, Sigma_c)] for z ~ N(means, diag variances), in closed form.

    With `variances` None the expectation is taken at a point: log N(means; mu_c, Sigma_c). The squared
    distance is summed directly; expanding the square would cancel in float32.
    """
    log_variances = jnp.clip(mixture.log_variances, *LOG_VARIANCE_RANGE)
    used = mask(means.shape[-1], latent_dim)
    precisions = jnp.where(used, jnp.exp(-log_variances), 0.0)
    normalizers = jnp.sum(jnp.where(used, LOG_2PI + log_variances, 0.0), axis=-1)
    if mixture.shears is not None:
        where = means.T, None if variances is None else variances.T
        squares = _sheared_squares(*where, mixture.means, precisions, mixture.shears)
        return -0.5 * (normalizers[:, None] + squares).T
    variances = jnp.zeros_like(means) if variances is None else variances
    sum_of_squares = _sum_of_squares if on_accelerator() else _expected_squares
    squares = sum_of_squares(means.T, variances.T, mixture.means, precisions)
    return -0.5 * (normalizers[:, None] + squares).T


def triangles(shears: Float[Array, "K L L"]) -> Float[Array, "K L L"]:
    """Return A of each component: what is stored below the diagonal, and ones on it."""
    return jnp.tril(shears, -1) + jnp.eye(shears.shape[-1], dtype=shears.dtype)


def _sheared_squares(
    means: Float[Array, "L N"],
    variances: Float[Array, "L N"] | None,
    centers: Float[Array, "K L"],
    precisions: Float[Array, "K L"],
    shears: Float[Array, "K L L"],
) -> Float[Array, "K N"]:
    """Return E[(z - center)' Sigma^-1 (z - center)] with Sigma^-1 = A' diag(precisions) A."""
    exact = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    factors = triangles(shears)
    whitened = exact("kij,kjn->kin", factors, means - centers[:, :, None])
    squares = jnp.sum(whitened**2 * precisions[:, :, None], axis=1)
    if variances is None:
        return squares
    return squares + exact("kij,ki,jn->kn", factors**2, precisions, variances)


# Rows last, from here to the end of the gradients: a CPU does many of them at a time.


def _squares(
    means: Float[Array, "L N"], variances: Float[Array, "L N"], centers: Float[Array, "K L"]
) -> Float[Array, "K L N"]:
    """Return E[(z - center)^2] of every latent."""
    return (means - centers[:, :, None]) ** 2 + variances


def _sum_of_squares(
    means: Float[Array, "L N"],
    variances: Float[Array, "L N"],
    centers: Float[Array, "K L"],
    precisions: Float[Array, "K L"],
) -> Float[Array, "K N"]:
    """Return E[(z - center)^2] summed over the latents, each times its precision."""
    return jnp.sum(_squares(means, variances, centers) * precisions[:, :, None], axis=1)


_expected_squares = jax.custom_vjp(_sum_of_squares)


def _forward(*arguments: Array) -> tuple[Array, tuple[Array, ...]]:
    """Return the sums by a product. It holds all K * L * N squares, as the gradients do; N is a batch."""
    *where, precisions = arguments
    return jnp.einsum("kln,kl->kn", _squares(*where), precisions), arguments


def _backward(arguments: tuple[Array, ...], slopes: Float[Array, "K N"]) -> tuple[Array, ...]:
    """Return the gradients by matrix products, which are for a CPU.

    Differentiated, each would be a sum over (K, L, N): one program each on a GPU, where products would take
    longer and, as differences of them are taken, could not be rounded to fewer digits.
    """
    means, variances, centers, precisions = arguments
    to_variances = precisions.T @ slopes
    to_means = 2 * (means * to_variances - (centers * precisions).T @ slopes)
    to_centers = jnp.sum(slopes, axis=1)[:, None] * centers - slopes @ means.T
    to_centers = 2 * precisions * to_centers
    to_precisions = jnp.einsum("kln,kn->kl", _squares(means, variances, centers), slopes)
    return to_means, to_variances, to_centers, to_precisions


_expected_squares.defvjp(_forward, _backward)


def factors(mixture: Mixture, latent_dim: Count | None = None) -> Float[Array, "K L L"]:
    """Return A^-1 diag sigma of each component: lower triangular, times its transpose Sigma.

    Sigma itself may lose its definiteness where it is rounded. Masked latents have variance 1 and go with no
    other.
    """
    used = mask(mixture.means.shape[1], latent_dim)
    log_variances = jnp.where(used, jnp.clip(mixture.log_variances, *LOG_VARIANCE_RANGE), 0.0)
    units = jnp.eye(len(used), dtype=log_variances.dtype)
    sds = jnp.exp(0.5 * log_variances)[:, None, :] * units
    if mixture.shears is None:
        return sds
    shears = jnp.where(used[:, None] & used, triangles(mixture.shears), units)
    return jax.scipy.linalg.solve_triangular(shears, sds, lower=True, unit_diagonal=True)


def overlaps(mixture: Mixture, latent_dim: Count | None = None) -> Float[Array, "K K"]:
    """Return the Bhattacharyya coefficient of each two components, weights aside.

    That is the integral of sqrt(p(z|c) p(z|c')) over the latents in use: 1 for the same Gaussian twice, 0 for
    two that have nothing in common.
    """
    if mixture.shears is not None:
        return _sheared_overlaps(mixture, latent_dim)
    log_variances = jnp.clip(mixture.log_variances, *LOG_VARIANCE_RANGE)
    one, other = log_variances[:, None], log_variances[None]
    log_mean = jnp.logaddexp(one, other) - jnp.log(2.0)  # of the two variances
    distances = (mixture.means[:, None] - mixture.means[None]) ** 2 * jnp.exp(-log_mean)
    logs = 0.25 * (one + other) - 0.5 * log_mean - 0.125 * distances
    return jnp.exp(jnp.sum(jnp.where(mask(mixture.means.shape[1], latent_dim), logs, 0.0), axis=-1))


def _sheared_overlaps(mixture: Mixture, latent_dim: Count | None) -> Float[Array, "K K"]:
    """Return `overlaps` of full covariances."""
    used, each = mask(mixture.means.shape[1], latent_dim), factors(mixture, latent_dim)
    # Of the mean of two covariances: what both factors, one beside the other, are turned to.
    both = jnp.concatenate(jnp.broadcast_arrays(each[:, None], each[None]), axis=-1) * jnp.sqrt(0.5)
    triangle = jnp.linalg.qr(jnp.swapaxes(both, -1, -2), mode="r")
    apart = jnp.where(used, mixture.means[:, None] - mixture.means[None], 0.0)
    whitened = jax.scipy.linalg.solve_triangular(triangle, apart[..., None], trans="T")[..., 0]

    def half_log_determinant(factors: Float[Array, "*any L L"]) -> Float[Array, "*any"]:
        return jnp.sum(jnp.log(jnp.abs(jnp.diagonal(factors, axis1=-2, axis2=-1))), axis=-1)

    own, of_both = half_log_determinant(each), half_log_determinant(triangle)
    return jnp.exp(0.5 * (own[:, None] + own[None]) - of_both - 0.125 * jnp.sum(whitened**2, axis=-1))


def log_joint(
    z: Float[Array, "N L"],
    mixture: Mixture,
    n_clusters: Count | None = None,
    latent_dim: Count | None = None,
) -> Float[Array, "N K"]:
    """Return log p(c) + log p(z|c)."""
    return log_weights(mixture, n_clusters) + expected_log_normal(z, None, mixture, latent_dim)


def responsibilities(
    z: Float[Array, "N L"],
    mixture: Mixture,
    n_clusters: Count | None = None,
    latent_dim: Count | None = None,
) -> Float[Array, "N K"]:
    """Return p(c|z); rows sum to 1, padded clusters get 0 (Jiang et al. 2017, Eq. 16)."""
    return jax.nn.softmax(log_joint(z, mixture, n_clusters, latent_dim), axis=-1)


def expected_responsibilities(
    means: Float[Array, "N L"],
    variances: Float[Array, "N L"],
    mixture: Mixture,
    n_clusters: Count | None = None,
    latent_dim: Count | None = None,
) -> Float[Array, "N K"]:
    """Return E[p(c|z)] for z ~ N(means, variances), by `quadrature`; else like `responsibilities`.

    At the mean alone, a row that the encoder is not sure of looks as sure as any other.
    """

    def at(z: Float[Array, "N L"]) -> Float[Array, "N K"]:
        return responsibilities(z, mixture, n_clusters, latent_dim)

    return quadrature.expectation(at, means, variances)
