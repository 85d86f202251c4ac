"""Rows clustered by a named configuration: the study's, or the one we trust."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int

from jvade import ensemble
from jvade.analysis import consensus
from jvade.analysis.consensus import Linkage
from jvade.analysis.indices import draw_subset
from jvade.core import fit, gmm, lanes, model, quadrature
from jvade.core.epoch import Lane
from jvade.core.fit import Fit, MixtureStart
from jvade.core.lanes import Keeper, Progress, Trained
from jvade.core.layout import take_lane
from jvade.core.likelihoods import NOISE_RANGE
from jvade.core.settings import (
    Architecture,
    Block,
    Covariance,
    Hyperparameters,
    Noise,
    Responsibilities,
    Training,
    joined,
    not_among,
    not_widths,
    unlike,
)
from jvade.ensemble import Ensemble, Rows, as_rows


@dataclass(frozen=True)
class Configuration:
    """Every setting that a clustering depends on, but the rows and the seed.

    Args:
        model: hyperparameters of a run; its `n_clusters` is that of each run.
        training: batches, epochs, split, inputs hidden from the encoder.
        mixture: how the mixture of a run starts.
        widths: hidden widths of the encoder; the decoder mirrors them.
        n_runs: runs whose consensus is the answer; the answer of a single run is its own.
        likelihood: "gaussian" for all columns, as in the study, or "by-kind": numbers Gaussian, 0/1 columns
            Bernoulli, the categories or codes of each variable under a softmax.
        noise: variance of the Gaussian columns, "fixed" at `model.noise_variance`, or from there "learned",
            one for all of them, or one "by-column".
        responsibilities: of a row in a run, by which its component and that one's support are told: at the
            posterior "mean", or their expectation over q(z|x) by "quadrature". It changes no training.
        covariance_type: of the clusters of a run, "diag" as in the study, or "full": the latents may go
            together within a cluster.
        linkage: how a consensus joins groups, see `analysis.consensus.agree`: "average", "ward", which makes
            clusters of like size, or "best": "ward" where that keeps more of other runs. It changes no
            training.

    Raises:
        ValueError: a setting that cannot be; says what was expected and what came.
    """

    model: Hyperparameters = field(default_factory=Hyperparameters)
    training: Training = field(default_factory=Training)
    mixture: MixtureStart = field(default_factory=MixtureStart)
    widths: tuple[int, ...] = Architecture.widths
    n_runs: int = 1
    likelihood: Literal["gaussian", "by-kind"] = "gaussian"
    noise: Noise = "fixed"
    responsibilities: Responsibilities = "mean"
    covariance_type: Covariance = "diag"
    linkage: Linkage = "best"

    def __post_init__(self) -> None:
        problems = not_widths(self.widths) + unlike("n_runs", self.n_runs, whole=True, least=1)
        problems += not_among("likelihood", self.likelihood, ("gaussian", "by-kind"))
        problems += not_among("noise", self.noise, get_args(Noise))
        problems += not_among("responsibilities", self.responsibilities, get_args(Responsibilities))
        problems += not_among("covariance_type", self.covariance_type, get_args(Covariance))
        problems += not_among("linkage", self.linkage, get_args(Linkage))
        if self.responsibilities == "quadrature":
            below = quadrature.MAX_DIMS + 1
            problems += unlike("latent_dim by quadrature", self.model.latent_dim, least=1, below=below)
        self.model.check()
        self.mixture.check()
        low, high = NOISE_RANGE
        if self.noise != "fixed" and not low < self.model.noise_variance < high:
            within = f"where it is learned, it starts between {low:g} and {high:g}"
            problems.append(f"noise_variance: {within}, got {self.model.noise_variance!r}")
        cycles, n_warming = self.model.annealing_cycles, self.model.warmup_epochs
        n_epochs = self.training.of_stage(pretraining=True).max_epochs
        if n_warming * cycles > n_epochs:
            most = f"{self.training.pretraining_bound}, {n_epochs}"
            in_all = f" in each of {cycles} cycles" if cycles > 1 else ""
            problems.append(f"warmup_epochs: expected at most {most}, got {n_warming}{in_all}")
        if problems:
            raise ValueError("; ".join(problems))

    def of_training(self) -> "Configuration":
        """Return it without what changes no result of a training: what the state of one is kept under."""
        training = replace(self.training, block_epochs=1)
        rest = {name: getattr(Configuration, name) for name in ("responsibilities", "linkage")}
        return replace(self, training=training, **rest)

    def architecture(self, x: Float[np.ndarray, "N D"], blocks: Sequence[Block] = ()) -> Architecture:
        """Return the sizes of a run on these rows; `blocks`: see `cluster`."""
        sizes = x.shape[1], self.model.latent_dim, self.model.n_clusters, self.widths
        by_kind = self.likelihood == "by-kind"
        return Architecture(
            *sizes, (tuple(blocks) or _kinds(x)) if by_kind else (), self.noise, self.covariance_type
        )


#: Section 2.3, with our readings of what it leaves open: the noise variance, and how the mixture starts.
PAPER = Configuration()

#: Our best (docs/method.md): what short runs agree on, of narrow networks that see half of the inputs, with
#: clusters to spare.
ROBUST = Configuration(
    Hyperparameters(latent_dim=4, n_clusters=15),
    Training(max_epochs=40, pretraining_epochs=20, epoch_batches=32, input_dropout=0.5),
    MixtureStart(max_rows=200_000),
    widths=(32,),
    n_runs=24,
    likelihood="by-kind",
)


class Clustering(NamedTuple):
    """Where every row lies, and how sure that is.

    Args:
        labels: cluster of each row, 0 to K-1 by falling size; those of a single run that are empty come last.
        support: of each row in [0, 1], see `ensemble.place`.
        ensemble: what places other rows.
        runs: component of each row in each sound run.
        sound: places of these runs among the lanes.
        fit: both stages of every lane.
        lanes: seed and settings of every lane.
        training: of every lane.
        failures: what went wrong, a line for each lane that failed; its run has no vote.
        n_clusters: as asked for, or as chosen.
        bics: BIC of every number of clusters that there was to choose from, mean over the runs.
        linkage: how the groups of a consensus were joined, "average" or "ward"; None of a single run.
    """

    labels: Int[np.ndarray, " N"]
    support: Float[np.ndarray, " N"]
    ensemble: Ensemble
    runs: Int[np.ndarray, "S N"]
    sound: list[int]
    fit: Fit
    lanes: Lane
    training: Training
    failures: list[str]
    n_clusters: int
    bics: dict[int, float]
    linkage: Linkage | None = None


class TrainingError(RuntimeError):
    """No run that would be needed stayed finite; the message says which, where, and what to try."""


def cluster(
    x: Rows,
    n_clusters: int | Sequence[int],
    seed: int,
    configuration: Configuration = ROBUST,
    on_block: Callable[[Progress], None] | None = None,
    keeper: Keeper | None = None,
    blocks: Sequence[Block] = (),
) -> Clustering:
    """Cluster rows by a configuration.

    Args:
        x: standardised rows, finite.
        n_clusters: clusters of the answer, or several numbers to choose from: that of the lowest BIC of a
            mixture on the pretrained latents, mean over the runs (Fig 4). A single run has as many as that,
            the runs of a consensus have those of the configuration.
        seed: every random draw descends from it: weights, splits, orders, noise, starts of EM.
        configuration: `ROBUST`, `PAPER`, or one of your own.
        on_block: see `core.fit.fit`.
        keeper: see `core.fit.fit`.
        blocks: kinds of the columns, where the configuration has likelihoods by kind; none: a column of 0
            and 1 is Bernoulli, others are Gaussian.

    Raises:
        ValueError: rows that are not finite, or a number that cannot be.
        TrainingError: no run stayed finite.
    """
    matrix = as_rows(x)
    rows = jnp.asarray(matrix)
    numbers = tuple(n_clusters) if isinstance(n_clusters, Sequence) else (n_clusters,)
    whole = not any(unlike("", number, whole=True, least=1) for number in numbers)
    if not numbers or not whole or max(numbers) > len(rows):
        expected = f"expected 1 to the number of rows ({len(rows)}), a whole number or several"
        raise ValueError(f"n_clusters: {expected}, got {n_clusters!r}")
    hyper, training, n_runs = configuration.model, configuration.training, configuration.n_runs
    # Seeds of one clustering must not be those of the next.
    seeds = [seed] if n_runs == 1 else np.random.SeedSequence(seed).generate_state(n_runs).tolist()
    stack = lanes.stack(seeds, hyper)
    architecture = configuration.architecture(matrix, blocks)
    networks = lanes.init(stack, architecture)
    vae = lanes.train(rows, networks, stack, "pretraining", architecture, training, on_block, keeper)
    several = len(numbers) > 1
    bics = _bics(rows, vae, stack, architecture, configuration.mixture, numbers, seed) if several else {}
    asked = int(min(numbers, key=lambda k: bics.get(k, 0.0)))
    if n_runs == 1:
        stack = lanes.stack(seeds, hyper._replace(n_clusters=asked))
        architecture = replace(architecture, n_clusters=asked)
    found = fit.fine_tune(
        rows, vae.params, stack, architecture, training, configuration.mixture, on_block, keeper
    )._replace(pretrained=vae)
    failures = fit.failures(found, [f"run {i + 1}" for i in range(n_runs)])
    sound = np.flatnonzero(np.asarray(found.sound)).tolist()
    if not sound:
        raise TrainingError("; ".join(failures))
    if n_runs == 1:
        alone = of_lane(rows, found, stack, 0, architecture, configuration)
        return alone._replace(bics=bics)
    best = int(np.argmin(np.asarray(found.finetuned.best_loss)[sound]))
    every = jax.tree.map(np.asarray, (found.finetuned.params, stack.hyperparameters))
    params, settings = take_lane(every, np.array(sound))
    made = Ensemble(params, settings, architecture, None, best, configuration.responsibilities)
    runs = ensemble.components(made, matrix)
    likeness = ensemble.likeness(made, matrix, runs, training.input_dropout, seed)
    agreed, labels, support, taken = consensus.agree(
        list(runs),
        asked,
        seed,
        likeness=list(likeness),
        linkage=configuration.linkage,
        n_labels=architecture.n_clusters,
    )
    made = made._replace(agreed=agreed)
    told = labels, support, made, runs, sound, found, stack, training, failures, asked, bics
    return Clustering(*told, taken)


def of_lane(
    x: Rows,
    found: Fit,
    stack: Lane,
    lane: int,
    architecture: Architecture,
    configuration: Configuration,
) -> Clustering:
    """Return one lane of a stack as a clustering of its own, its clusters in falling order of their rows.

    Args:
        x: the rows it was trained on.
        found: both stages of every lane.
        stack: the lanes.
        lane: which; a sound one.
        architecture: sizes of the stack.
        configuration: how they were trained, and how rows are placed; hyperparameters are the lane's own.

    Raises:
        ValueError: the lane failed, or there is no such lane.
    """
    if not 0 <= lane < len(stack.key) or not bool(found.sound[lane]):
        raise ValueError(f"lane: expected a sound one of the {len(stack.key)}, got {lane}")
    params, settings = jax.tree.map(np.asarray, (found.finetuned.params, stack.hyperparameters))
    made = Ensemble(params, settings, architecture, None, 0, configuration.responsibilities).alone(lane)
    labels, support = ensemble.place(made, x)
    order = np.argsort(-np.bincount(labels, minlength=architecture.n_clusters), kind="stable")
    mixture = jax.tree.map(lambda leaf: leaf[:, order], made.params.mixture)
    made = made._replace(params=made.params._replace(mixture=mixture))
    labels = np.argsort(order)[labels].astype(np.int16)
    n_clusters = int(settings.n_clusters[lane])
    how = stack, configuration.training
    return Clustering(labels, support, made, labels[None], [lane], found, *how, [], n_clusters, {})


def history(trained: Trained, lane: int, kl_weight: float) -> pd.DataFrame:
    """Return one row per epoch: losses and the terms of the ELBO, nats per visit (Figs 3 and 5)."""
    n = int(trained.n_epochs[lane])
    columns: dict[str, Any] = {"epoch": np.arange(1, n + 1)}
    for name, terms in (("train", trained.history.train), ("validation", trained.history.validation)):
        # Of all lanes and epochs: each number of them would be a program of its own.
        every = {"loss": -terms.elbo(kl_weight), **terms._asdict()}
        columns |= {f"{name}_{term}": np.asarray(values)[lane, :n] for term, values in every.items()}
    return pd.DataFrame(columns)


def _kinds(x: Float[np.ndarray, "N D"]) -> tuple[Block, ...]:
    """Return the likelihoods of columns of which nothing but their values is known."""
    binary = [column.min() == 0 and column.max() == 1 and np.isin(column, (0, 1)).all() for column in x.T]
    return joined([Block("bernoulli" if one else "gaussian", 1) for one in binary])


def _bics(
    x: Float[Array, "N D"],
    vae: Trained,
    stack: Lane,
    architecture: Architecture,
    settings: MixtureStart,
    numbers: Sequence[int],
    seed: int,
) -> dict[int, float]:
    """Return the BIC of a mixture of each size on latents of a subset of the rows, mean over sound lanes."""
    few = x[draw_subset(len(x), settings.n_rows, seed)]
    hyper, key = stack.hyperparameters, jax.random.key(seed)
    each = []
    for lane in np.flatnonzero(np.asarray(vae.finite)).tolist():
        latent_dim = int(np.asarray(hyper.latent_dim)[lane])
        z = model.encode_rows(take_lane(vae.params, lane), few, architecture, latent_dim).means
        kind = architecture.covariance_type
        found = gmm.fit(key, z, numbers, latent_dim, settings, covariance_type=kind)
        each.append(np.where(np.asarray(found.finite), np.asarray(found.bic), np.inf))
    return dict(zip(numbers, np.mean(each, axis=0).tolist(), strict=True)) if each else {}
