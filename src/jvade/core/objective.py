"""The evidence lower bound of VaDE, row by row and term by term.

With q(z, c|x) = q(z|x) gamma_c (Jiang et al. 2017, Eq. 12):

    elbo = E_q[log p(x|z)]                       reconstruction
         - KL(gamma || pi)                       categorical_kl
         - sum_c gamma_c E_q[-log p(z|c)]        gaussian_cross_entropy
         + H(q(z|x))                             posterior_entropy

The reconstruction is estimated from one draw z; the other terms are in closed form, with gamma the
responsibilities at that draw. Any gamma gives a bound, this one included. The loss of the VAE
pretraining is the same expression under a prior of one standard normal: gamma = 1, the categorical term
vanishes, and the last two make KL(q(z|x) || N(0, I)).

The fine-tuning may be steered by penalties, which are no part of the bound: `penalties`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jvade.core import likelihoods
from jvade.core import mixture as mixtures
from jvade.core.layout import max_rows, sum_rows
from jvade.core.mixture import Mixture
from jvade.core.model import Parameters, encode, outputs
from jvade.core.settings import Architecture, Hyperparameters, Real


class ElboTerms(NamedTuple):
    """The four terms, natural log, each positive in its usual sense; see the module for the signs."""

    reconstruction: Float[Array, "*rows"]
    categorical_kl: Float[Array, "*rows"]
    gaussian_cross_entropy: Float[Array, "*rows"]
    posterior_entropy: Float[Array, "*rows"]

    @property
    def gaussian_kl(self) -> Float[Array, "*rows"]:
        """sum_c gamma_c KL(q(z|x) || p(z|c))."""
        return self.gaussian_cross_entropy - self.posterior_entropy

    def elbo(self, kl_weight: Real = 1.0) -> Float[Array, "*rows"]:
        """Return the bound, with every term but the reconstruction times `kl_weight`."""
        return self.reconstruction - kl_weight * (self.categorical_kl + self.gaussian_kl)


def elbo_terms(
    params: Parameters,
    x: Float[Array, "N D"],
    noise: Float[Array, "N L"],
    architecture: Architecture,
    hyperparameters: Hyperparameters,
    seen: Float[Array, "N D"] | None = None,
    weights: Float[Array, " D"] | None = None,
) -> ElboTerms:
    """Return the terms of the ELBO of each row, at z = mean + sd * noise."""
    return elbo_terms_and_log_gamma(params, x, noise, architecture, hyperparameters, seen, weights)[0]


def elbo_terms_and_log_gamma(
    params: Parameters,
    x: Float[Array, "N D"],
    noise: Float[Array, "N L"],
    architecture: Architecture,
    hyperparameters: Hyperparameters,
    seen: Float[Array, "N D"] | None = None,
    weights: Float[Array, " D"] | None = None,
) -> tuple[ElboTerms, Float[Array, "N K"]]:
    """Return the terms of the ELBO of each row, at z = mean + sd * noise, and log gamma there.

    Args:
        params: networks, and the mixture unless this is the pretraining.
        x: standardised rows; 0/1 columns as they are.
        noise: standard normal draws, one row each.
        architecture: static sizes.
        hyperparameters: `noise_variance`, `latent_dim` and `n_clusters` are read.
        seen: the rows as the encoder sees them, where some inputs are hidden from it; None: all of x. Any q
            gives a bound, so does one that knows less.
        weights: of the columns in the reconstruction, see `likelihoods.balanced`. None: 1; else it is no
            bound of the density.
    """
    latent_dim = hyperparameters.latent_dim
    prior = params.prior(architecture.latent_dim)
    n_clusters = None if params.mixture is None else hyperparameters.n_clusters

    posterior = encode(params, x if seen is None else seen, architecture, latent_dim)
    # Rows last, as the encoder has them.
    log_variances = posterior.log_variances.T
    variances = jnp.exp(log_variances).T
    z = (posterior.means.T + jnp.exp(0.5 * log_variances) * noise.T).T
    decoded = outputs(params, z, architecture, latent_dim)
    noise_variances = params.noise_variances(hyperparameters.noise_variance)

    if params.mixture is None:
        log_gamma = jnp.zeros((1, x.shape[0]))  # the one cluster there is
    else:
        log_gamma = jax.nn.log_softmax(mixtures.log_joint(z, prior, n_clusters, latent_dim).T, axis=0)
    gamma = jnp.exp(log_gamma)  # Jiang et al. 2017, Eq. (16)
    expected = mixtures.expected_log_normal(posterior.means, variances, prior, latent_dim).T
    log_weights = mixtures.log_weights(prior, n_clusters)[:, None]
    entropies = 0.5 * (likelihoods.LOG_2PI + 1.0 + log_variances)
    in_use = mixtures.mask(architecture.latent_dim, latent_dim)[:, None]
    terms = ElboTerms(
        reconstruction=likelihoods.log_likelihood(
            x, decoded, architecture.all_blocks, noise_variances, weights
        ),
        categorical_kl=jnp.sum(gamma * (log_gamma - log_weights), axis=0),
        gaussian_cross_entropy=-jnp.sum(gamma * expected, axis=0),
        posterior_entropy=jnp.sum(jnp.where(in_use, entropies, 0.0), axis=0),
    )
    return terms, log_gamma.T


def penalties(
    log_gamma: Float[Array, "N K"],
    weights: Float[Array, " N"],
    mixture: Mixture | None,
    hyperparameters: Hyperparameters,
) -> list[Float[Array, ""]]:
    """Return what steers the fine-tuning beside the bound, nats a row; what is None is not computed.

    Repulsion is the mean of `mixture.overlaps` over the pairs of clusters in use, times the setting: what all
    of them on one place would cost. It pushes the clusters apart, makes those of like width narrower, and of
    two on one place the wide one wider.

    Args:
        log_gamma: of each row of the batch; -1e30 or so for padded clusters.
        weights: of the rows, of sum 1; 0 for what fills up the batch.
        mixture: the prior; none in the pretraining, which nothing steers.
        hyperparameters: `occupancy_floor`, `repulsion`, `n_clusters` and `latent_dim` are read.
    """
    if mixture is None:
        return []
    found = []
    if hyperparameters.occupancy_floor is not None:
        found.append(below_floor(log_gamma, weights, hyperparameters))
    if hyperparameters.repulsion is not None:
        each = mixtures.overlaps(mixture, hyperparameters.latent_dim)
        used = mixtures.mask(len(each), hyperparameters.n_clusters)
        pairs = jnp.triu(used[:, None] & used, 1)
        n_pairs = jnp.maximum(jnp.sum(pairs), 1)  # one cluster has nothing to lie on
        found.append(hyperparameters.repulsion * jnp.sum(jnp.where(pairs, each, 0.0)) / n_pairs)
    return found


def below_floor(
    log_gamma: Float[Array, "N K"], weights: Float[Array, " N"], hyperparameters: Hyperparameters
) -> Float[Array, ""]:
    """Return what the clusters below the floor of a batch cost, nats a row.

    With r_c the mean responsibility and f = `occupancy_floor` / K:

        sum_c f max(0, log f - log r_c)

    the terms of KL(f || r) that are above 0. At the floor and above there is no cost and no gradient. Below
    it, the gradient by the log-responsibilities of a cluster is f in all, shared out among the rows by their
    part in r_c: as large for a cluster that is all but dead as for one just below the floor, where that of a
    square of (f - r_c) dies with the cluster.

    It biases the shares: a type of fewer rows than the floor is filled up with others. Batches below the
    floor by chance are held up too, so it belongs well below the smallest share that matters.
    """
    floor = jnp.asarray(hyperparameters.occupancy_floor / hyperparameters.n_clusters, log_gamma.dtype)
    # By hand, for the rows may be parted among devices, of which one may have none that counts.
    counted = jnp.where(weights[:, None] > 0, log_gamma, -jnp.inf)
    most = max_rows(jnp.max(counted, axis=0))
    log_shares = most + jnp.log(sum_rows(weights @ jnp.exp(counted - most)))
    missing = jnp.maximum(jnp.log(floor) - log_shares, 0.0)
    used = mixtures.mask(log_gamma.shape[1], hyperparameters.n_clusters)
    return floor * jnp.sum(jnp.where(used, missing, 0.0))
