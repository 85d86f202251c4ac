"""The model as pure functions of its parameters: start, encode, decode, and say which cluster."""

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Int, Key

from jvade.core import likelihoods
from jvade.core import mixture as mixtures
from jvade.core.mixture import Mixture
from jvade.core.networks import Decoder, Encoder
from jvade.core.settings import Architecture, Count, Real

#: Rows decoded or encoded at once by the functions that take a whole table; bounds their memory.
CHUNK_ROWS = 8192


class Parameters(NamedTuple):
    """Everything that is learned.

    `mixture` is None while the prior is N(0, I) (pretraining), `log_noise_variances` where noise is fixed.
    """

    encoder: dict[str, Any]
    decoder: dict[str, Any]
    log_noise_variances: Float[Array, " G"] | None = None
    mixture: Mixture | None = None

    def prior(self, latent_dim: int) -> Mixture:
        """Return the mixture over `latent_dim` latents, N(0, I) where none is learned yet."""
        return mixtures.standard_normal(latent_dim) if self.mixture is None else self.mixture

    def noise_variances(self, fixed: Real) -> Real | Float[Array, " G"]:
        """Return the variance of the Gaussian columns: as learned, one or one for each, or else `fixed`."""
        if self.log_noise_variances is None:
            return fixed
        return jnp.exp(jnp.clip(self.log_noise_variances, *likelihoods.LOG_NOISE_RANGE))

    def to_arrays(self) -> dict[str, Array]:
        """Return every parameter by its path, such as "encoder/means/kernel": what a file can hold."""
        tree: dict[str, Any] = {"encoder": self.encoder, "decoder": self.decoder}
        if self.log_noise_variances is not None:
            tree["log_noise_variances"] = self.log_noise_variances
        if self.mixture is not None:
            tree["mixture"] = self.mixture.to_arrays()
        return cast(dict[str, Array], flatten_dict(tree, sep="/"))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Parameters":
        """Return the parameters that `to_arrays` flattened."""
        tree = unflatten_dict({name: jnp.asarray(value) for name, value in arrays.items()}, sep="/")
        mixture = Mixture(**tree["mixture"]) if "mixture" in tree else None
        return cls(tree["encoder"], tree["decoder"], tree.get("log_noise_variances"), mixture)


class Posterior(NamedTuple):
    """q(z|x) = N(means, diag exp log_variances); both 0 at masked latents."""

    means: Float[Array, "N L"]
    log_variances: Float[Array, "N L"]


class Assignment(NamedTuple):
    """Where rows lie: posterior means and p(c | z = posterior mean)."""

    latents: Float[Array, "N L"]
    responsibilities: Float[Array, "N K"]


def _modules(architecture: Architecture) -> tuple[Encoder, Decoder]:
    return (
        Encoder(architecture.widths, architecture.latent_dim),
        Decoder(architecture.widths[::-1], architecture.n_features),
    )


def init(
    key: Key[Array, ""], architecture: Architecture, latent_dim: Count, noise_variance: Real = 1.0
) -> Parameters:
    """Draw starting parameters of the networks; the first `latent_dim` latents do not see the padding.

    Noise variances that are learned start at `noise_variance`.
    """
    key_encoder, key_decoder = jax.random.split(key)
    encoder, decoder = _modules(architecture)
    x = jnp.zeros((1, architecture.n_features))
    z = jnp.zeros((architecture.latent_dim, 1))
    noises = None
    if architecture.n_noises:
        noises = jnp.full(architecture.n_noises, jnp.log(noise_variance), x.dtype)
    return Parameters(
        dict(encoder.init(key_encoder, x)["params"]),
        dict(decoder.init(key_decoder, z, latent_dim)["params"]),
        noises,
    )


@cache
def shapes(architecture: Architecture, has_mixture: bool) -> Parameters:
    """Return the shapes of the parameters of one lane, in their place."""

    def parameters() -> Parameters:
        networks = init(jax.random.key(0), architecture, architecture.latent_dim)
        if not has_mixture:
            return networks
        means = jnp.zeros((architecture.n_clusters, architecture.latent_dim))
        full = architecture.covariance_type == "full"
        shears = jnp.zeros((*means.shape, means.shape[1])) if full else None
        return networks._replace(mixture=Mixture(means[:, 0], means, means, shears))

    return jax.eval_shape(parameters)


def unpad(params: Parameters, architecture: Architecture) -> Parameters:
    """Return the parameters of a padded lane as those of a smaller architecture.

    Args:
        params: of one lane, padded to more latents or clusters than `architecture` has; on the host or not.
        architecture: as many of them as the lane uses, the widths of the padded one.
    """
    like = shapes(architecture, params.mixture is not None)
    return jax.tree.map(lambda leaf, small: leaf[tuple(slice(n) for n in small.shape)], params, like)


def pad(params: Parameters, wide: Parameters) -> Parameters:
    """Return what `unpad` cut out put back into the padded parameters `wide`; on the host."""

    def put(leaf: Any, into: Any) -> np.ndarray:
        whole = np.array(into)
        whole[tuple(slice(n) for n in leaf.shape)] = leaf
        return whole

    return jax.tree.map(put, params, wide)


def encode(
    params: Parameters, x: Float[Array, "N D"], architecture: Architecture, latent_dim: Count
) -> Posterior:
    """Return q(z|x) of each row."""
    means, log_variances = cast(
        tuple[Array, Array], _modules(architecture)[0].apply({"params": params.encoder}, x)
    )
    in_use = mixtures.mask(architecture.latent_dim, latent_dim)[:, None]
    log_variances = jnp.clip(log_variances, *mixtures.LOG_VARIANCE_RANGE)
    return Posterior(jnp.where(in_use, means, 0.0).T, jnp.where(in_use, log_variances, 0.0).T)


def decode(
    params: Parameters, z: Float[Array, "N L"], architecture: Architecture, latent_dim: Count
) -> Float[Array, "N D"]:
    """Return the mean of p(x|z); masked latents are ignored."""
    return likelihoods.means(outputs(params, z, architecture, latent_dim), architecture.all_blocks)


def outputs(
    params: Parameters, z: Float[Array, "N L"], architecture: Architecture, latent_dim: Count
) -> Float[Array, "N D"]:
    """Return what the decoder makes of latents: means of Gaussian columns, logits of the others."""
    in_use = mixtures.mask(architecture.latent_dim, latent_dim)[:, None]
    z = jnp.where(in_use, z.T, 0.0)
    return cast(Array, _modules(architecture)[1].apply({"params": params.decoder}, z, latent_dim))


def encode_rows(
    params: Parameters,
    x: Float[Array, "N D"],
    architecture: Architecture,
    latent_dim: Count,
    rows: Int[Array, " M"] | None = None,
) -> Posterior:
    """Return `encode` of a table, or of some of its `rows`, as they are named.

    In chunks: memory does not grow with the hidden width times N, nor is there a copy of the rows.
    """

    def one(row: Float[Array, " D"]) -> Posterior:
        return jax.tree.map(lambda leaf: leaf[0], encode(params, row[None], architecture, latent_dim))

    if rows is None:
        return jax.lax.map(one, x, batch_size=CHUNK_ROWS)
    return jax.lax.map(lambda number: one(x[number]), rows, batch_size=CHUNK_ROWS)


@partial(jax.jit, static_argnames="architecture")
def assign(
    params: Parameters,
    x: Float[Array, "N D"],
    architecture: Architecture,
    latent_dim: Count,
    n_clusters: Count,
) -> Assignment:
    """Place every row: its posterior mean and the responsibilities there. Deterministic.

    One lane; map it over a stack.
    """
    z = encode_rows(params, x, architecture, latent_dim).means
    in_use = None if params.mixture is None else n_clusters
    prior = params.prior(architecture.latent_dim)
    return Assignment(z, mixtures.responsibilities(z, prior, in_use, latent_dim))
