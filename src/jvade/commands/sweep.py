"""What `jvade sweep` does: settings in, a ranked table out."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pandas as pd
from scipy import stats

from jvade import atomic, checkpoints, manifest, sweeps
from jvade.checkpoints import CHECKPOINTS, PRIVATE, Checkpoints
from jvade.clustering import PAPER, Configuration, TrainingError
from jvade.commands import rows
from jvade.commands.fit import ConfigurationName
from jvade.core.fit import MixtureStart
from jvade.core.settings import Covariance, Hyperparameters, Noise, Responsibilities, Training
from jvade.data.errors import InputError
from jvade.hooks import METRICS, every, jsonl, show
from jvade.paper.settings import DeviceName, below, check_size, em_limits
from jvade.report.document import number
from jvade.report.folder import RunFolder
from jvade.report.terminal import Terminal

#: Formats of the printed columns, where three digits will not do.
FORMS = {
    "elbo": ".3f",
    "elbo_sd": ".3f",
    "behind": ".3f",
    "behind_se": ".3f",
    "kl": ".3f",
    "epochs": ".0f",
    "agreement": ".2f",
}


@dataclass(frozen=True)
class Over:
    """Values to try of each setting; one without values is that of --model.

    Args:
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        clip_norm: largest norm of a gradient.
        noise_variance: of the decoder; where it is learned, its start.
        kl_weight: factor of the KL terms in training; the ranking is at 1.
        patience: epochs without a better validation loss before a run stops.
        latent_dim: latents.
        n_clusters: clusters of a run; of several runs, as `jvade fit` has them, --model.n-clusters.
        warmup_epochs: epochs of the pretraining over which the KL weight grows.
        mixture_rate: factor of the learning rate of the mixture.
        annealing_cycles: how often the warm-up is gone through.
        pretraining_kl_weight: factor of the KL weight in the pretraining.
        occupancy_floor: least share of a cluster in a batch, as a fraction of an equal share.
        repulsion: what clusters that lie on one another cost, nats a row.
        balance: how far the variables count alike in the reconstruction, from 0 to 1; the ranking is at 0.
    """

    learning_rate: tuple[float, ...] = ()
    weight_decay: tuple[float, ...] = ()
    clip_norm: tuple[float, ...] = ()
    noise_variance: tuple[float, ...] = ()
    kl_weight: tuple[float, ...] = ()
    patience: tuple[int, ...] = ()
    latent_dim: tuple[int, ...] = ()
    n_clusters: tuple[int, ...] = ()
    warmup_epochs: tuple[int, ...] = ()
    mixture_rate: tuple[float, ...] = ()
    annealing_cycles: tuple[int, ...] = ()
    pretraining_kl_weight: tuple[float, ...] = ()
    occupancy_floor: tuple[float, ...] = ()
    repulsion: tuple[float, ...] = ()
    balance: tuple[float, ...] = ()


@dataclass(frozen=True)
class SweepSettings(rows.Source):
    """Train VaDE with every combination of some settings from several seeds, and rank the settings.

    Args:
        out: folder of the results: sweep.csv (a row per combination and seed, the best first), metrics.jsonl
            (how the training went) and run.json.
        over: the values to try.
        seeds: seeds that each combination is trained from.
        device: where to compute; "auto" takes an accelerator if JAX finds one.
        configuration: "paper" or "robust": each run is trained as one of its runs. Every flag below overrides
            it.
        widths: hidden widths of the encoder; the decoder mirrors them.
        likelihood: "gaussian" for all columns, or "by-kind": numbers Gaussian, 0/1 columns Bernoulli, the
            categories of a column, and the codes of a variable (of visits, or --codes), under a softmax.
        noise: variance of the Gaussian columns: "fixed" at --model.noise-variance, or from there "learned",
            one for all, or one "by-column".
        responsibilities: of a row: at the posterior "mean", or their expectation over q(z|x) by
            "quadrature".
        covariance_type: of the clusters: "diag", as in the study, or "full": the latents may go together
            within a cluster.
        model: the settings that are not tried.
        training: batches, epochs, split.
        mixture: how the mixture starts.
    """

    out: Path
    over: Over = field(default_factory=Over)
    seeds: tuple[int, ...] = (1, 2, 3)
    device: DeviceName = "auto"
    configuration: ConfigurationName = "paper"
    widths: tuple[int, ...] = PAPER.widths
    likelihood: Literal["gaussian", "by-kind"] = PAPER.likelihood
    noise: Noise = PAPER.noise
    responsibilities: Responsibilities = PAPER.responsibilities
    covariance_type: Covariance = PAPER.covariance_type
    model: Hyperparameters = PAPER.model
    training: Training = PAPER.training
    mixture: MixtureStart = PAPER.mixture

    @property
    def values(self) -> dict[str, tuple[float, ...]]:
        """The values to try, by name of a setting."""
        return {name: values for name, values in vars(self.over).items() if values}

    @property
    def most_clusters(self) -> int:
        """The largest number of clusters tried."""
        return max(self.over.n_clusters, default=self.model.n_clusters)

    def configured(self, model: Hyperparameters) -> Configuration:
        """Return what these settings say of a run with these hyperparameters.

        Raises:
            ValueError: a setting that cannot be; says what was expected and what came.
        """
        sizes = model, self.training, self.mixture, self.widths, 1
        how = self.likelihood, self.noise, self.responsibilities, self.covariance_type
        return Configuration(*sizes, *how)

    def check(self) -> None:
        """Refuse settings that cannot work, before any file is read.

        Raises:
            InputError: what was expected, and what came.
        """
        rows.check(self.visits, self.mapping, self.table, self.csv, self.out)
        at_least = {"--seeds": (min(self.seeds, default=-1), 0), "--widths": (min(self.widths, default=0), 1)}
        at_least |= em_limits("--mixture", self.mixture, self.most_clusters)
        problems = below(at_least) + self.problems(self.likelihood)
        if len(set(self.seeds)) < len(self.seeds):
            problems.append(f"--seeds: expected each once, got {' '.join(map(str, self.seeds))}")
        try:
            for one in sweeps.combinations(self.model, self.values):
                self.configured(one)
                if not one.finite:
                    raise ValueError(f"expected finite numbers, got {one}")
        except ValueError as error:
            problems.append(str(error))
        if problems:
            raise InputError(problems, "settings")


def run(settings: SweepSettings, terminal: Terminal) -> None:
    """Train every combination of settings, and write and print how they rank.

    Raises:
        InputError: the rows or a value to try cannot be used; nothing was written.
        TrainingError: no run stayed finite; the table says so.
    """
    began = datetime.now(UTC)
    settings.check()
    with terminal.step("rows"):
        table = settings.read()
    rows.say(table, terminal)
    check_size(len(table.frame), settings.most_clusters)
    columns, source = rows.learned(table), table.about["source"]
    rows.say_columns(settings, table, columns, terminal)
    folder = RunFolder(settings.out)
    # That of the first: a setting of --model that others are tried of need not be one that can.
    configuration = settings.configured(sweeps.combinations(settings.model, settings.values)[0])
    configuration = replace(configuration, training=settings.training.for_rows(len(table.frame)))
    blocks = columns.blocks if settings.likelihood == "by-kind" else ()
    # What changes no result is no part of the key: a stopped run goes on with other engines, or other blocks.
    trained_by = settings.values, settings.seeds, configuration.of_training(), blocks
    inputs = [{**column, "code_of": ""} for column in columns.to_dict()]
    key = manifest.key(source=source, inputs=inputs, settings=[manifest.plain(one) for one in trained_by])
    atomic.private_folder(settings.out / PRIVATE)
    kept = Checkpoints(settings.out / PRIVATE / CHECKPOINTS / "sweep" / key[:16])
    try:
        with terminal.step("sweep"):
            found = sweeps.sweep(
                columns.encode(table.frame),
                settings.values,
                seeds=settings.seeds,
                configuration=configuration,
                on_block=every(show(terminal), jsonl(settings.out / METRICS)),
                keeper=kept,
                blocks=blocks,
            )
    except KeyboardInterrupt:
        terminal.say(f"stopped; the same command goes on from what is kept, in {settings.out}")
        raise
    folder.table("sweep", found.table)
    seconds = terminal.seconds | {"sweep": terminal.seconds["sweep"] + kept.seconds}
    folder.finish(
        manifest.of_training(began, seconds, settings, source)
        | {"inputs": [str(column.name) for column in columns.each], "rows": table.lines}
        | {"resolved": manifest.plain(configuration)}
        | {"warnings": found.failures},
        [*folder.written, METRICS],
    )
    checkpoints.remove(kept.folder, settings.out)
    for failure in found.failures:
        terminal.say(f"  warning: {failure}", "yellow")
    if not found.table["finite"].to_numpy(bool).any():
        raise TrainingError(f"no run stayed finite: {found.failures[0]}")
    summary = found.summary()
    best = {name: [number(value, FORMS.get(name, ".3g")) for value in summary[name][:10]] for name in summary}
    terminal.table(
        f"The best of {len(summary)} settings, means of {len(settings.seeds)} seeds; validation ELBO in nats"
        " per row, higher is better",
        pd.DataFrame(best),
    )
    terminal.say(told_apart(summary, len(settings.seeds)))
    terminal.say(f"Everything is in {settings.out}.")


def told_apart(summary: pd.DataFrame, n_seeds: int) -> str:
    """Return in words which settings are as good as the best, as far as their seeds tell.

    Those whose ELBO, seed by seed, is not below that of the best beyond chance: by a one-sided t test at 5 %.
    """
    known = summary.dropna(subset=["behind"])
    if len(known) < 2:
        return "fewer than two settings were trained by every seed: there is nothing to compare"
    if n_seeds == 1:
        return "one seed does not tell settings from chance: give several --seeds"
    most = stats.t.ppf(0.95, n_seeds - 1) * known["behind_se"].to_numpy(float)
    near = known.loc[known["behind"].to_numpy(float) <= most, "rank"].tolist()
    if len(near) == 1:
        return f"by these {n_seeds} seeds the best setting is ahead of every other that they all trained"
    ranks = ", ".join(map(str, near))
    return f"by these {n_seeds} seeds the settings of rank {ranks} are not told apart from the best"
