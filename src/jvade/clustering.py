"""Rows clustered by a named configuration: the study's, or the one we trust."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jvade.analysis import consensus
from jvade.analysis.consensus import Agreed
from jvade.core import fit, lanes
from jvade.core.epoch import Lane
from jvade.core.fit import Fit, MixtureStart
from jvade.core.lanes import Keeper, Progress
from jvade.core.layout import take_lane
from jvade.core.settings import Architecture, Hyperparameters, Training


@dataclass(frozen=True)
class Configuration:
    """Every setting that a clustering depends on, but the rows and the seed.

    Args:
        model: hyperparameters of a run; its `n_clusters` is that of each run.
        training: batches, epochs, split, inputs hidden from the encoder.
        mixture: how the mixture of a run starts.
        widths: hidden widths of the encoder; the decoder mirrors them.
        n_runs: runs whose consensus is the answer; the answer of a single run is its own.
    """

    model: Hyperparameters = field(default_factory=Hyperparameters)
    training: Training = field(default_factory=Training)
    mixture: MixtureStart = field(default_factory=MixtureStart)
    widths: tuple[int, ...] = Architecture.widths
    n_runs: int = 1

    def __post_init__(self) -> None:
        if self.n_runs < 1:
            raise ValueError(f"n_runs: expected at least 1, got {self.n_runs}")


#: Section 2.3, with our readings of what it leaves open: the noise variance, and how the mixture starts.
PAPER = Configuration()

#: Our best (docs/method.md): what runs agree on that see half of the inputs and have clusters to spare.
ROBUST = Configuration(
    Hyperparameters(latent_dim=4, n_clusters=15), Training(max_epochs=40, input_dropout=0.5), n_runs=6
)


class Clustering(NamedTuple):
    """Where every row lies, and how sure that is.

    Args:
        labels: cluster of each row; of a consensus 0 to K-1 by falling size, else the component's number.
        support: of each row in [0, 1]: of a consensus, the share of the runs that agree on its cluster, see
            `consensus.Consensus`; of a single run, the responsibility of its cluster.
        agreed: what places rows by a consensus; None for a single run.
        runs: cluster of each row in each sound run.
        sound: places of these runs among the lanes.
        fit: both stages of every lane.
        lanes: seed and settings of every lane.
        architecture: sizes of the lanes, for `fit.assign`.
        failures: what went wrong, a line for each lane that failed; its run has no vote.
        n_clusters: as asked for.
    """

    labels: Int[np.ndarray, " N"]
    support: Float[np.ndarray, " N"]
    agreed: Agreed | None
    runs: Int[np.ndarray, "S N"]
    sound: list[int]
    fit: Fit
    lanes: Lane
    architecture: Architecture
    failures: list[str]
    n_clusters: int


class AllRunsFailedError(RuntimeError):
    """Every run went non-finite; the message says where and what to try."""


def cluster(
    x: Float[np.ndarray, "N D"] | Float[Array, "N D"],
    n_clusters: int,
    seed: int,
    configuration: Configuration = ROBUST,
    on_block: Callable[[Progress], None] | None = None,
    keeper: Keeper | None = None,
) -> Clustering:
    """Cluster rows by a configuration.

    Args:
        x: standardised rows, finite.
        n_clusters: clusters of the answer. A single run takes its number from here, the runs of a consensus
            from the configuration.
        seed: every random draw descends from it: weights, splits, orders, noise, starts of EM.
        configuration: `ROBUST`, `PAPER`, or one of your own.
        on_block: see `core.fit.fit`.
        keeper: see `core.fit.fit`.

    Raises:
        ValueError: rows that are not finite, or a number that cannot be.
        AllRunsFailedError: no run stayed finite.
    """
    rows = finite(x)
    if not 1 <= n_clusters <= len(rows):
        raise ValueError(f"n_clusters: expected 1 to the number of rows ({len(rows)}), got {n_clusters}")
    model, alone = configuration.model, configuration.n_runs == 1
    if alone:
        model = model._replace(n_clusters=n_clusters)
    # Seeds of one clustering must not be those of the next.
    seeds = [seed] if alone else np.random.SeedSequence(seed).generate_state(configuration.n_runs).tolist()
    stack = lanes.stack(seeds, model)
    architecture = Architecture(rows.shape[1], model.latent_dim, model.n_clusters, configuration.widths)
    found = fit.fit(
        rows, stack, architecture, configuration.training, configuration.mixture, on_block, keeper
    )
    failures = fit.failures(found, [f"run {i + 1}" for i in range(configuration.n_runs)])
    sound = np.flatnonzero(np.asarray(found.sound)).tolist()
    if not sound:
        raise AllRunsFailedError("; ".join(failures))
    each = [label(found, rows, stack, lane, architecture) for lane in sound]
    runs = np.stack([labels for labels, _ in each])
    if alone:
        return Clustering(*each[0], None, runs, sound, found, stack, architecture, failures, n_clusters)
    agreed, labels, support = consensus.agree(list(runs), n_clusters, seed, n_labels=architecture.n_clusters)
    return Clustering(labels, support, agreed, runs, sound, found, stack, architecture, failures, n_clusters)


def place(
    clustering: Clustering, x: Float[np.ndarray, "N D"] | Float[Array, "N D"]
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return cluster and support of other rows, standardised as those of the clustering were.

    Raises:
        ValueError: rows that are not finite, or of another width.
    """
    rows = finite(x)
    if rows.shape[1] != clustering.architecture.n_features:
        raise ValueError(f"expected {clustering.architecture.n_features} columns, got {rows.shape[1]}")
    each = [
        label(clustering.fit, rows, clustering.lanes, lane, clustering.architecture)
        for lane in clustering.sound
    ]
    if clustering.agreed is None:
        return each[0]
    return consensus.assign(clustering.agreed, [labels for labels, _ in each])


def label(
    found: Fit, x: Array, stack: Lane, lane: int, architecture: Architecture
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return the component of every row in one lane, from 0, and its responsibility."""
    placed = fit.assign(take_lane(found.finetuned.params, lane), x, take_lane(stack, lane), architecture)
    # Two numbers a row leave the device, not one for every cluster.
    labels = jnp.argmax(placed.responsibilities, axis=-1).astype(jnp.int16)
    return np.asarray(labels), np.asarray(jnp.max(placed.responsibilities, axis=-1))


def finite(x: Float[np.ndarray, "N D"] | Float[Array, "N D"]) -> Float[Array, "N D"]:
    """Return rows as an array of the device.

    Raises:
        ValueError: they are no matrix, or not finite.
    """
    rows = jnp.asarray(x, float)
    if rows.ndim != 2:
        raise ValueError(f"expected a matrix of rows, got shape {rows.shape}")
    if n_bad := int(jnp.sum(~jnp.isfinite(rows).all(axis=1))):
        raise ValueError(f"expected finite rows, got {n_bad} of {len(rows)} with a NaN or an infinity")
    return rows
