"""EM for Gaussian mixtures, diagonal or full, in blocks of rows: a step keeps sums over the rows, no more.

Blocks keep the memory bounded however many rows there are, and every array of rows by clusters in the caches
(benchmarks/em.py).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jvade.core import mixture as mixtures
from jvade.core.layout import rows_at_once
from jvade.core.likelihoods import LOG_2PI
from jvade.core.mixture import Mixture, mask
from jvade.core.settings import Count, Covariance, Real

T = TypeVar("T")
#: With this many latents or more EM expands its squares into matrix products, 2 to 7 times as fast at 20,000
#: rows. What that cancels in float32 grows with (spread of the latents / deviation of a cluster)^2: 5e-3 nats
#: at 100. In few latents, where clusters are thin and the gain is small, squares are summed directly.
EXPANDED_LATENTS = 4
#: Roundings of a second moment, for each latent, that full covariances are widened by: 5e-7 of it for each in
#: single precision.
ROUNDINGS = 4


class Components(NamedTuple):
    """Parameters of a mixture as EM moves them; (K, L) variances if diagonal, (K, L, L) if full."""

    log_weights: Float[Array, " K"]
    means: Float[Array, "K L"]
    covariances: Float[Array, "K L"] | Float[Array, "K L L"]


class GmmFit(NamedTuple):
    """A fitted mixture with what a person asks of it; criteria are lower-is-better.

    Args:
        components: padded parameters.
        n_clusters: clusters in use.
        lower_bound: mean log-likelihood of a row under `components`, natural log.
        bic: Bayesian information criterion, -2 log L + p log N.
        icl: integrated completed likelihood, BIC plus twice the entropy of the responsibilities.
        n_iter: EM iterations run.
        converged: the gain fell below `tol`.
        finite: False where EM broke down (collapsed rows with `reg_covar` 0).
    """

    components: Components
    n_clusters: Int[Array, ""]
    lower_bound: Float[Array, ""]
    bic: Float[Array, ""]
    icl: Float[Array, ""]
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]
    finite: Bool[Array, ""]


def as_mixture(components: Components) -> Mixture:
    """Return components in the parameters that VaDE trains."""
    log_weights, means, covariances = components
    if covariances.ndim == 2:
        return Mixture(log_weights, means, jnp.clip(jnp.log(covariances), *mixtures.LOG_VARIANCE_RANGE))
    factors = jnp.linalg.cholesky(covariances)
    sds = jnp.diagonal(factors, axis1=-2, axis2=-1)
    units = jnp.broadcast_to(jnp.eye(sds.shape[-1], dtype=sds.dtype), factors.shape)
    inverses = jax.scipy.linalg.solve_triangular(factors, units, lower=True)
    log_variances = jnp.clip(2.0 * jnp.log(sds), *mixtures.LOG_VARIANCE_RANGE)
    return Mixture(log_weights, means, log_variances, sds[..., None] * inverses)


def log_joint(
    z: Float[Array, "N L"],
    components: Components,
    n_clusters: Count | None = None,
    latent_dim: Count | None = None,
) -> Float[Array, "N K"]:
    """Return log p(c) + log p(z|c) for either kind of covariance."""
    return mixtures.log_joint(z, as_mixture(components), n_clusters, latent_dim)


def _expanded_log_joint(
    deviations: Float[Array, "L N"],
    center: Float[Array, " L"],
    components: Components,
    n_clusters: Count | None,
    latent_dim: Count | None,
) -> Float[Array, "K N"]:
    """Return `log_joint` of diagonal components, by two matrix products; see `EXPANDED_LATENTS`."""
    used = mask(components.means.shape[1], latent_dim)
    means = components.means - center
    precisions = jnp.where(used, 1.0 / components.covariances, 0.0)
    constants = jnp.where(used, LOG_2PI + jnp.log(components.covariances) + means**2 * precisions, 0.0)
    exact = jax.lax.Precision.HIGHEST
    log_normal = (
        jnp.matmul(means * precisions, deviations, precision=exact)
        - 0.5 * jnp.matmul(precisions, deviations**2, precision=exact)
        - 0.5 * jnp.sum(constants, axis=-1)[:, None]
    )
    in_use = mask(components.log_weights.shape[0], n_clusters)[:, None]
    return jnp.where(in_use, components.log_weights[:, None] + log_normal, mixtures.NEVER)


class Moments(NamedTuple):
    """Sums over rows, weighted by their responsibilities, of deviations from an origin.

    Args:
        counts: of the responsibilities.
        first: of the deviations.
        second: of their squares (K, L), or of their products (K, L, L) for full covariances.
        origin: what the deviations are from: one point, or one for each cluster.
    """

    counts: Float[Array, " K"]
    first: Float[Array, "K L"]
    second: Float[Array, "K L"] | Float[Array, "K L L"]
    origin: Float[Array, " L"] | Float[Array, "K L"]


def sum_blocks(of_block: Callable[[Array, Array], T], z: Float[Array, "N L"]) -> T:
    """Return the sum of `of_block(weights, rows)` over blocks of rows; rows of weight 0 must not count."""
    n_rows = z.shape[0]
    n_blocks = -(-n_rows // rows_at_once())
    size = -(-n_rows // n_blocks)

    def block(i: Int[Array, ""]) -> T:
        # The last block reaches back over rows that have been counted: no padding, no copy of the table.
        first = jnp.minimum(i * size, n_rows - size)
        weights = (first + jnp.arange(size) >= i * size).astype(z.dtype)
        return of_block(weights, jax.lax.dynamic_slice_in_dim(z, first, size))

    def add(i: Int[Array, ""], sums: T) -> T:
        return jax.tree.map(jnp.add, sums, block(i))

    first = jnp.zeros((), int)
    if n_blocks == 1:
        return block(first)
    # Sums start from zeros: to start from the first block would put `of_block` into the program twice.
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(block, first))
    return jax.lax.fori_loop(0, n_blocks, add, zeros)


def moments(
    deviations: Float[Array, "L N"] | Float[Array, "K L N"],
    responsibilities: Float[Array, "K N"],
    covariance_type: Covariance,
) -> tuple[Float[Array, " K"], Float[Array, "K L"], Float[Array, "..."]]:
    """Return counts, first and second moments of deviations, shared by the clusters or of each."""
    counts = jnp.sum(responsibilities, axis=-1)
    exact = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    if deviations.ndim == 2:
        first, second = (exact("kn,ln->kl", responsibilities, d) for d in (deviations, deviations**2))
        return counts, first, second
    first = exact("kn,kln->kl", responsibilities, deviations)
    if covariance_type == "diag":
        return counts, first, exact("kn,kln->kl", responsibilities, deviations**2)
    weighted = responsibilities[:, None, :] * deviations
    return counts, first, exact("kln,kmn->klm", weighted, deviations)


def rounding(n_latents: Count, dtype: Any) -> Real:
    """Return the part of a second moment that full covariances are widened by; see `ROUNDINGS`."""
    return ROUNDINGS * n_latents * float(jnp.finfo(dtype).eps)


def m_step(
    sums: Moments, n_rows: int, latent_dim: Count | None, covariance_type: Covariance, reg_covar: float
) -> Components:
    """Return the components of highest expected log-likelihood, `reg_covar` added to each variance.

    Where that is above 0, full covariances are widened by what rounding may have taken as well.

    A second moment less the square of the first cancels in float32 where an origin is far from its cluster:
    EM takes the means it had, or the center of all rows where squares are expanded. Empty clusters (padded
    ones always are) and padded latents become N(0, I) without weight; NaN stays NaN.
    """
    counts, n_latents = sums.counts, sums.first.shape[1]
    safe = jnp.maximum(counts, 10 * jnp.finfo(counts.dtype).eps)
    used, in_use = mask(n_latents, latent_dim), ~(counts <= 0)
    shifts = sums.first / safe[:, None]
    means = jnp.where(used & in_use[:, None], sums.origin + shifts, 0.0)
    if covariance_type == "diag":
        covariances = jnp.maximum(sums.second / safe[:, None] - shifts**2, 0.0) + reg_covar
        kept = used & in_use[:, None]
        covariances = jnp.where(kept, covariances, 1.0)
    else:
        identity = jnp.eye(n_latents, dtype=counts.dtype)
        raw = sums.second / safe[:, None, None]
        covariances = raw - shifts[:, :, None] * shifts[:, None, :]
        # Of a thin cluster, or of one with fewer rows than latents, rounding may take the definiteness.
        widening = rounding(jnp.sum(used), counts.dtype) * (reg_covar > 0)
        kept = (used[:, None] & used[None, :]) & in_use[:, None, None]
        covariances = jnp.where(kept, covariances + (reg_covar + widening * raw) * identity, identity)
    log_weights = jnp.where(in_use, jnp.log(safe) - jnp.log(n_rows), mixtures.NEVER)
    return Components(log_weights, means, covariances)


def em_step(
    z: Float[Array, "N L"],
    components: Components,
    n_clusters: Count | None,
    latent_dim: Count | None,
    covariance_type: Covariance,
    reg_covar: float,
) -> tuple[Components, Float[Array, ""]]:
    """Return the next components, and the mean log-likelihood of a row under the ones given."""
    shared = covariance_type == "diag" and z.shape[1] >= EXPANDED_LATENTS
    # Of all rows, once EM has made a step.
    center = jnp.exp(components.log_weights) @ components.means
    origin = center if shared else components.means
    mixture = as_mixture(components)  # once, not for every block: full covariances are factored

    def of_block(weights: Array, rows: Array) -> tuple[Any, Array]:
        deviations = rows.T - origin[..., None]
        if shared:
            joint = _expanded_log_joint(deviations, center, components, n_clusters, latent_dim)
        else:
            joint = mixtures.log_joint(rows, mixture, n_clusters, latent_dim).T
        # The exponentials, a quarter of a step, are taken once, for densities and responsibilities.
        highest = jnp.max(joint, axis=0)
        scaled = jnp.exp(joint - highest)
        of_row = jnp.sum(scaled, axis=0)
        density = highest + jnp.log(of_row)
        sums = moments(deviations, scaled * (weights / of_row), covariance_type)
        return sums, jnp.sum(weights * density)

    sums, total = sum_blocks(of_block, z)
    n_rows = z.shape[0]
    new = m_step(Moments(*sums, origin=origin), n_rows, latent_dim, covariance_type, reg_covar)
    return new, total / n_rows


def n_parameters(n_clusters: Count, latent_dim: Count, covariance_type: Covariance) -> Count:
    """Return the number of free parameters: weights, means, covariances."""
    per_cluster = latent_dim if covariance_type == "diag" else latent_dim * (latent_dim + 1) // 2
    return n_clusters - 1 + n_clusters * (latent_dim + per_cluster)


def criteria(
    z: Float[Array, "N L"], mixture: Mixture, n_clusters: Count, latent_dim: Count
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Return the mean log-likelihood of a row, BIC and ICL of a mixture on `z`."""

    def of_block(weights: Array, rows: Array) -> tuple[Array, Array]:
        joint = mixtures.log_joint(rows, mixture, n_clusters, latent_dim)
        density = jax.nn.logsumexp(joint, axis=-1, keepdims=True)
        log_gamma = joint - density
        entropies = -jnp.sum(jnp.exp(log_gamma) * log_gamma, axis=-1)
        return jnp.sum(weights * density[:, 0]), jnp.sum(weights * entropies)

    n_rows = z.shape[0]
    log_likelihood, entropy = sum_blocks(of_block, z)
    kind = "diag" if mixture.shears is None else "full"
    penalty = n_parameters(n_clusters, latent_dim, kind) * jnp.log(n_rows)
    bic = -2 * log_likelihood + penalty
    return log_likelihood / n_rows, bic, bic + 2 * entropy


def fit(
    z: Float[Array, "N L"],
    components: Components,
    n_clusters: Count,
    latent_dim: Count,
    *,
    covariance_type: Covariance = "diag",
    max_iter: int = 200,
    tol: float = 1e-5,
    reg_covar: float = 1e-6,
) -> GmmFit:
    """Run EM from given components until the mean log-likelihood of a row gains less than `tol`.

    Args:
        z: latents; masked ones are 0.
        components: where to start.
        n_clusters: clusters in use.
        latent_dim: latents in use.
        covariance_type: "diag" or "full".
        max_iter: iterations at most.
        tol: gain below which EM has converged, natural log per row.
        reg_covar: added to every variance; keeps a cluster on coinciding rows finite. Above 0, full
            covariances are widened by their `rounding` too.
    """

    def step(carry: tuple[Components, Array, Array, Array]) -> tuple[Components, Array, Array, Array]:
        components, bound, _, i = carry
        new, density = em_step(z, components, n_clusters, latent_dim, covariance_type, reg_covar)
        return new, density, density - bound, i + 1

    start = (components, jnp.array(-jnp.inf, z.dtype), jnp.array(jnp.inf, z.dtype), jnp.array(0))
    # A gain that is NaN compares False and ends the loop.
    components, _, gain, n_iter = jax.lax.while_loop(
        lambda c: (jnp.abs(c[2]) >= tol) & (c[3] < max_iter), step, start
    )
    lower_bound, bic, icl = criteria(z, as_mixture(components), n_clusters, latent_dim)
    finite = jnp.isfinite(lower_bound)
    converged = finite & (jnp.abs(gain) < tol)
    return GmmFit(components, jnp.asarray(n_clusters), lower_bound, bic, icl, n_iter, converged, finite)
