"""What a fitted clustering makes of rows, new ones too: clusters, latents, bounds, draws.

Rows go through in blocks of one size, the last one filled up: one program, however many rows there are, and
what it says of a row does not depend on the rows beside it, to the bit.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jvade.analysis import consensus
from jvade.analysis.consensus import Agreed
from jvade.core import likelihoods, model, quadrature
from jvade.core import mixture as mixtures
from jvade.core.layout import THREADS, as_precise, take_lane
from jvade.core.mixture import Mixture
from jvade.core.model import Parameters, Posterior
from jvade.core.objective import elbo_terms
from jvade.core.settings import Architecture, Hyperparameters, Responsibilities

#: Rows of a block.
BLOCK_ROWS = 4096
#: Fewest pairs of points that the bound of a row is the mean over.
BOUND_PAIRS = 8

#: Rows that tell how alike components are, and how often each of them is seen in part.
LIKENESS_ROWS, N_VIEWS = 5_000, 8

Rows = Float[np.ndarray, "N D"] | Float[Array, "N D"]
Run = tuple[Parameters, Hyperparameters]


class Ensemble(NamedTuple):
    """All it takes to place rows: networks and mixture of every sound run, and what the runs agree on.

    Args:
        params: of every run, with a leading axis.
        hyperparameters: of every run, likewise.
        architecture: sizes that hold for all of them.
        agreed: what places rows by the runs; None where a single run is the answer.
        best: the run of the lowest validation loss: its latents, bounds and draws stand for all.
        responsibilities: of a row: p(c|z) at the posterior "mean", or its expectation over q(z|x) by
            "quadrature" (`mixture.expected_responsibilities`).
    """

    params: Parameters
    hyperparameters: Hyperparameters
    architecture: Architecture
    agreed: Agreed | None
    best: int
    responsibilities: Responsibilities = "mean"

    @property
    def latent_dim(self) -> int:
        """Latents in use by the best run."""
        return int(np.asarray(self.hyperparameters.latent_dim)[self.best])

    def run(self, number: int) -> Run:
        """Return networks, mixture and settings of one run."""
        return take_lane((self.params, self.hyperparameters), number)

    def alone(self, number: int) -> "Ensemble":
        """Return one run as an answer of its own."""
        params, hyperparameters = take_lane((self.params, self.hyperparameters), slice(number, number + 1))
        return self._replace(params=params, hyperparameters=hyperparameters, agreed=None, best=0)


def place(ensemble: Ensemble, x: Rows) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return cluster and support of each row.

    Args:
        ensemble: of a clustering.
        x: rows, standardised as those of the fit were.

    Returns:
        Clusters from 0, and support in [0, 1]: by a consensus, the share of the runs that agree on the
        cluster; by a single run, the responsibility of the cluster.

    Raises:
        ValueError: rows that are not finite, or of another width.
    """
    if ensemble.agreed is None:
        return _by_blocks(partial(_largest, ensemble.run(0), how=ensemble.responsibilities), ensemble, x)
    return consensus.assign(ensemble.agreed, list(components(ensemble, x)))


def components(ensemble: Ensemble, x: Rows) -> Int[np.ndarray, "S N"]:
    """Return the component of each row in every run, from 0; else like `place`."""
    runs = ensemble.params, ensemble.hyperparameters
    program = partial(_components, runs, how=ensemble.responsibilities)
    return _by_blocks(program, ensemble, x, axis=1)


def likeness(
    ensemble: Ensemble, x: Rows, runs: Int[np.ndarray, "S N"], hidden: float, seed: int
) -> Float[np.ndarray, "S C C"]:
    """Return how alike the components of every run are: the chance that it puts rows of two of them together.

    The run sees a part of either row, as in its training: what is hidden has the mean of its column.
    Components that one input tells apart are often together, those that many inputs tell apart hardly ever.
    Whole rows of one component are together: 1.

    Args:
        ensemble: of a clustering.
        x: the rows of the fit, standardised; a random subset of them is read.
        runs: component of each row in every run.
        hidden: share of the inputs that are hidden, in [0, 1), drawn anew for every row and view.
        seed: of the subset, and of what is hidden.

    Raises:
        ValueError: rows that cannot be, or runs of other rows.
    """
    rows, rng = as_rows(x, ensemble.architecture.n_features), np.random.default_rng(seed)
    if runs.shape[1] != len(rows):
        raise ValueError(f"runs: expected a component for each of {len(rows)} rows, got {runs.shape[1]}")
    chosen = np.sort(rng.choice(len(rows), min(LIKENESS_ROWS, len(rows)), replace=False))
    few, labels = rows[chosen], runs[:, chosen]
    means = rows.mean(axis=0, dtype=float).astype(rows.dtype)
    n_views = N_VIEWS if hidden else 1
    members = (np.arange(ensemble.architecture.n_clusters)[:, None] == labels[:, None]).astype(float)
    sizes, sums = members.sum(axis=2, keepdims=True), np.zeros((*members.shape[:2], members.shape[1]))
    for _ in range(n_views):  # one after the other: of wide rows, all of them would fill the memory
        seen = np.where(rng.random(few.shape) < hidden, means, few)
        for number, of_clusters in enumerate(members):
            program = partial(_responsibilities, ensemble.run(number), how=ensemble.responsibilities)
            sums[number] += of_clusters @ _by_blocks(program, ensemble, seen)
    mean = sums / (n_views * np.maximum(sizes, 1))
    # Two rows are seen in parts that have nothing to do with one another: the chances of both multiply.
    chances = mean @ mean.transpose(0, 2, 1)
    chances[:, *np.diag_indices(chances.shape[1])] = 1
    return chances


def memberships(ensemble: Ensemble, x: Rows) -> Float[np.ndarray, "N K"]:
    """Return how much each row belongs to each cluster: rows sum to 1, `place` gives the largest.

    By a single run, the responsibilities; by a consensus, the mean co-association with the members of each
    cluster, of their sum. Else like `place`.
    """
    if ensemble.agreed is not None:
        return consensus.memberships(ensemble.agreed, list(components(ensemble, x)))
    in_use = int(np.asarray(ensemble.hyperparameters.n_clusters)[0])
    program = partial(_responsibilities, ensemble.run(0), how=ensemble.responsibilities)
    return _by_blocks(program, ensemble, x)[:, :in_use]


def encode(ensemble: Ensemble, x: Rows, run: int | None = None) -> Posterior:
    """Return q(z|x) of each row in a run, the best if none is named; else like `place`."""
    number = ensemble.best if run is None else run
    latent_dim = int(np.asarray(ensemble.hyperparameters.latent_dim)[number])
    posterior = _by_blocks(partial(_encode, ensemble.run(number)), ensemble, x)
    return jax.tree.map(lambda leaf: leaf[:, :latent_dim], posterior)


def decode(ensemble: Ensemble, z: Float[np.ndarray, "N L"]) -> Float[np.ndarray, "N D"]:
    """Return the mean of p(x|z) in the best run.

    Raises:
        ValueError: latents that are not finite, or of another number than the best run uses.
    """
    z = as_rows(z, ensemble.latent_dim)
    wide = np.pad(z, ((0, 0), (0, ensemble.architecture.latent_dim - z.shape[1])))
    return _in_blocks(
        partial(_decode, ensemble.run(ensemble.best), architecture=ensemble.architecture), wide, 0
    )


def bounds(
    ensemble: Ensemble, x: Rows, weights: Float[np.ndarray, " D"] | None = None
) -> Float[np.ndarray, " N"]:
    """Return the ELBO of each row in the best run, nats, at weight 1 of its KL terms; else like `place`.

    The expectation over q(z|x) is by a rule (`core/quadrature.py`), so the answer has no randomness of its
    own; its points are those of the latents in use, whatever room there is for more. With weights of the
    columns, see `likelihoods.balanced`, it is no bound.
    """
    used, room = ensemble.latent_dim, ensemble.architecture.latent_dim
    points = quadrature.points(used, max(BOUND_PAIRS, quadrature.PAIRS_OF_A_DIM * used))
    noises = np.pad(points, ((0, 0), (0, room - used))).astype(np.float32)
    return _by_blocks(partial(_bounds, ensemble.run(ensemble.best), noises, weights), ensemble, x)


def prior(ensemble: Ensemble) -> Mixture:
    """Return the mixture of the best run: its components and latents in use."""
    params, settings = ensemble.run(ensemble.best)
    used = slice(int(settings.n_clusters)), slice(ensemble.latent_dim), slice(ensemble.latent_dim)
    whole = params.prior(ensemble.architecture.latent_dim)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[used[: leaf.ndim]]), whole)


def mixture(
    ensemble: Ensemble,
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "K L"], Float[np.ndarray, "K L *L"]]:
    """Return weights, means and covariances of the best run's mixture: its components and latents in use.

    Covariances are variances, (K, L), if diagonal, and (K, L, L) if full.
    """
    found = prior(ensemble)
    weights = np.exp(np.asarray(mixtures.log_weights(found), float))
    if found.shears is None:
        log_variances = np.clip(np.asarray(found.log_variances), *mixtures.LOG_VARIANCE_RANGE)
        return weights, np.asarray(found.means), np.exp(log_variances)
    factors = np.asarray(mixtures.factors(found), float)  # in single precision a thin one would be none
    return weights, np.asarray(found.means), factors @ np.swapaxes(factors, 1, 2)


def draw(
    ensemble: Ensemble, n_rows: int, seed: int
) -> tuple[Float[np.ndarray, "N D"], Int[np.ndarray, " N"]]:
    """Return rows drawn from the best run, standardised, and the component of that run each came from."""
    weights, centers, covariances = mixture(ensemble)
    rng = np.random.default_rng(seed)
    component = rng.choice(len(weights), n_rows, p=weights / weights.sum())
    noise = rng.normal(size=(n_rows, centers.shape[1]))
    if covariances.ndim == 2:
        noise *= np.sqrt(covariances[component])
    else:
        for number, factor in enumerate(np.asarray(mixtures.factors(prior(ensemble)), float)):
            noise[component == number] @= factor.T
    means = decode(ensemble, centers[component] + noise)
    params, settings = ensemble.run(ensemble.best)
    variances = np.asarray(params.noise_variances(float(settings.noise_variance)))
    rows = likelihoods.draw(rng, means, ensemble.architecture.all_blocks, variances)
    return rows.astype(np.float32), component.astype(np.int16)


def as_rows(x: Rows, width: int | None = None) -> Float[np.ndarray, "N D"]:
    """Return rows on the host, in the precision of the program.

    Raises:
        ValueError: they are no matrix, not finite, or not as wide as expected.
    """
    try:
        if np.iscomplexobj(x):
            raise TypeError
        rows = np.asarray(x, jnp.zeros(0).dtype)
    except (TypeError, ValueError):  # they would show values
        raise ValueError("expected a matrix of numbers") from None
    if rows.ndim != 2:
        raise ValueError(f"expected a matrix of rows, got shape {rows.shape}")
    if width is not None and rows.shape[1] != width:
        raise ValueError(f"expected {width} columns, got {rows.shape[1]}")
    if n_bad := int((~np.isfinite(rows).all(axis=1)).sum()):
        raise ValueError(f"expected finite rows, got {n_bad} of {len(rows)} with a NaN or an infinity")
    return rows


def _by_blocks(program: Callable[..., Any], ensemble: Ensemble, x: Rows, axis: int = 0) -> Any:
    rows = as_rows(x, ensemble.architecture.n_features)
    return _in_blocks(partial(program, architecture=ensemble.architecture), rows, axis)


def _in_blocks(program: Callable[..., Any], rows: np.ndarray, axis: int) -> Any:
    """Return what a program of a block of rows says of all; its results have the rows along `axis`."""

    def block(begin: int) -> Any:
        part = rows[begin : begin + BLOCK_ROWS]
        filled = np.pad(part, ((0, BLOCK_ROWS - len(part)), (0, 0)))
        keep = (slice(None),) * axis + (slice(len(part)),)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[keep], program(filled))

    # No row is a block too, of which nothing is kept.
    first, *later = range(0, max(len(rows), 1), BLOCK_ROWS)
    found = [block(first)]  # compiled before there are threads
    with ThreadPoolExecutor(THREADS) as pool:
        found += pool.map(as_precise(block), later)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=axis), *found)


@partial(jax.jit, static_argnames=("architecture", "how"))
def _responsibilities(
    run: Run, x: Array, architecture: Architecture, how: Responsibilities
) -> Float[Array, "N K"]:
    params, settings = run
    z, log_variances = model.encode(params, x, architecture, settings.latent_dim)
    mixture = params.prior(architecture.latent_dim), settings.n_clusters, settings.latent_dim
    if how == "quadrature":
        return mixtures.expected_responsibilities(z, jnp.exp(log_variances), *mixture)
    return mixtures.responsibilities(z, *mixture)


@partial(jax.jit, static_argnames=("architecture", "how"))
def _largest(
    run: Run, x: Array, architecture: Architecture, how: Responsibilities
) -> tuple[Int[Array, " N"], Float[Array, " N"]]:
    gamma = _responsibilities(run, x, architecture, how)
    # Two numbers a row leave the device, not one for every component.
    return jnp.argmax(gamma, axis=-1).astype(jnp.int16), jnp.max(gamma, axis=-1)


@partial(jax.jit, static_argnames=("architecture", "how"))
def _components(runs: Run, x: Array, architecture: Architecture, how: Responsibilities) -> Int[Array, "S N"]:
    def one(run: Run) -> Array:
        if how == "quadrature":
            return _largest(run, x, architecture, how)[0]
        # Of the joint density: which responsibility is the largest does not ask for their sum.
        params, settings = run
        z = model.encode(params, x, architecture, settings.latent_dim).means
        mixture = params.prior(architecture.latent_dim), settings.n_clusters, settings.latent_dim
        return jnp.argmax(mixtures.log_joint(z, *mixture), axis=-1).astype(jnp.int16)

    return jax.lax.map(one, runs)


@partial(jax.jit, static_argnames="architecture")
def _encode(run: Run, x: Array, architecture: Architecture) -> Posterior:
    return model.encode(run[0], x, architecture, run[1].latent_dim)


@partial(jax.jit, static_argnames="architecture")
def _decode(run: Run, z: Array, architecture: Architecture) -> Float[Array, "N D"]:
    return model.decode(run[0], z, architecture, run[1].latent_dim)


@partial(jax.jit, static_argnames="architecture")
def _bounds(
    run: Run, noises: Array, weights: Array | None, x: Array, architecture: Architecture
) -> Float[Array, " N"]:
    params, settings = run

    def one(noise: Array) -> Array:
        same = jnp.broadcast_to(noise, (len(x), len(noise)))
        return elbo_terms(params, x, same, architecture, settings, None, weights).elbo()

    return jax.lax.map(one, noises).mean(axis=0)
