"""The diagonal Gaussian mixture over latents: p(z) = sum_c pi_c N(z; mu_c, diag sigma_c^2).

Weights are stored as logits and variances as log-variances, so every value of the parameters is a
mixture. Everything stays in log space. Clusters and latents beyond those in use are masked: a padded
mixture gives the numbers of the unpadded one, and zero responsibility to the padding.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jvade.core.likelihoods import LOG_2PI
from jvade.core.settings import Count

#: Log-variances are clamped to this range before use: sigma between 1e-4 and 1e4.
LOG_VARIANCE_RANGE = (-18.42, 18.42)
#: Log weight of a padded cluster. Finite, so that 0 * log 0 stays 0 and gradients stay finite.
NEVER = -1e30


class Mixture(NamedTuple):
    """Parameters of the mixture; `logits` need not be normalised."""

    logits: Float[Array, " K"]
    means: Float[Array, "K L"]
    log_variances: Float[Array, "K L"]


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
    """Return E[log N(z; mu_c, sigma_c^2)] for z ~ N(means, variances), in closed form.

    With `variances` None the expectation is taken at a point: log N(means; mu_c, sigma_c^2). The squared
    distance is summed directly; expanding the square would cancel in float32.
    """
    log_variances = jnp.clip(mixture.log_variances, *LOG_VARIANCE_RANGE)
    precisions = jnp.exp(-log_variances)
    # Rows last: sums over a few latents or clusters then run along the rows, which a CPU does many at a time.
    squares = (means.T - mixture.means[:, :, None]) ** 2  # (K, L, N)
    if variances is not None:
        squares = squares + variances.T
    per_latent = LOG_2PI + log_variances[:, :, None] + squares * precisions[:, :, None]
    used = mask(means.shape[-1], latent_dim)[:, None]
    return -0.5 * jnp.sum(jnp.where(used, per_latent, 0.0), axis=1).T


def log_joint(
    z: Float[Array, "N L"],
    mixture: Mixture,
    n_clusters: Count | None = None,
    latent_dim: Count | None = None,
) -> Float[Array, "N K"]:
    """Return log p(c) + log p(z|c)."""
    return log_weights(mixture, n_clusters) + expected_log_normal(z, None, mixture, latent_dim)


def log_density(
    z: Float[Array, "N L"],
    mixture: Mixture,
    n_clusters: Count | None = None,
    latent_dim: Count | None = None,
) -> Float[Array, " N"]:
    """Return log p(z), natural log."""
    return jax.nn.logsumexp(log_joint(z, mixture, n_clusters, latent_dim), axis=-1)


def responsibilities(
    z: Float[Array, "N L"],
    mixture: Mixture,
    n_clusters: Count | None = None,
    latent_dim: Count | None = None,
) -> Float[Array, "N K"]:
    """Return p(c|z); rows sum to 1, padded clusters get 0 (Jiang et al. 2017, Eq. 16)."""
    return jax.nn.softmax(log_joint(z, mixture, n_clusters, latent_dim), axis=-1)
