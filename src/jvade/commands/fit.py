"""What `jvade fit` does: a table in, a model file out."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from jvade import atomic, checkpoints, hooks, manifest, model_file
from jvade.analysis.consensus import WAYS, Linkage
from jvade.checkpoints import CHECKPOINTS, PRIVATE
from jvade.clustering import ROBUST, Configuration
from jvade.commands import rows
from jvade.core.fit import MixtureStart
from jvade.core.settings import Covariance, Hyperparameters, Noise, Responsibilities, Training
from jvade.data.errors import InputError
from jvade.estimator import SEEDS, VaDE
from jvade.paper.settings import DeviceName, check_size
from jvade.report.document import number
from jvade.report.folder import RunFolder
from jvade.report.terminal import Terminal

ConfigurationName = Literal["robust", "paper"]
Tracker = Literal["tensorboard", "mlflow"]


@dataclass(frozen=True)
class FitSettings(rows.Source):
    """Cluster a table, and keep the model.

    Args:
        out: folder of the results: model.jvade and its card model.jvade.md, metrics.jsonl (how the training
            went), run.json, and for you alone private/labels.parquet (cluster and support of each row) and
            private/profiles.csv (means and shares of each cluster, of which small ones may give a person
            away).
        n_clusters: clusters; several numbers to choose from by BIC.
        configuration: "robust" (what several runs agree on) or "paper" (one run, as in the study). Every flag
            below overrides it.
        seed: every random draw descends from it.
        device: where to compute; "auto" takes an accelerator if JAX finds one.
        resume: go on where the same command was stopped; --no-resume forgets all that was kept.
        track: also tell TensorBoard (events in OUT/tensorboard) or MLflow (the run at work there).
        n_runs: runs whose consensus is the answer; of a single run, its own.
        widths: hidden widths of the encoder; the decoder mirrors them.
        likelihood: "gaussian" for all columns, or "by-kind": numbers Gaussian, 0/1 columns Bernoulli, the
            categories of a column, and the codes of a variable (of visits, or --codes), under a softmax.
        noise: variance of the Gaussian columns: "fixed" at --model.noise-variance, or from there "learned",
            one for all, or one "by-column".
        responsibilities: of a row in a run: at the posterior "mean", or their expectation over q(z|x) by
            "quadrature"; kept with the model.
        covariance_type: of the components of a run: "diag", as in the study, or "full": the latents may go
            together within a component.
        linkage: how a consensus joins groups: "average", "ward", which makes clusters of like size, or
            "best": "ward" where that keeps more of runs it has not seen. A single run has nothing to join.
        model: the network and its optimiser; --model.n-clusters are the components of each of several runs.
        training: batches, epochs, split.
        mixture: how the mixture starts.
    """

    out: Path
    n_clusters: tuple[int, ...] = (7,)
    configuration: ConfigurationName = "robust"
    seed: int = 42
    device: DeviceName = "auto"
    resume: bool = True
    track: tuple[Tracker, ...] = ()
    n_runs: int = ROBUST.n_runs
    widths: tuple[int, ...] = ROBUST.widths
    likelihood: Literal["gaussian", "by-kind"] = ROBUST.likelihood
    noise: Noise = ROBUST.noise
    responsibilities: Responsibilities = ROBUST.responsibilities
    covariance_type: Covariance = ROBUST.covariance_type
    linkage: Linkage = ROBUST.linkage
    model: Hyperparameters = ROBUST.model
    training: Training = ROBUST.training
    mixture: MixtureStart = ROBUST.mixture

    def check(self) -> None:
        """Refuse settings that cannot work, before any file is read.

        Raises:
            InputError: what was expected, and what came.
        """
        rows.check(self.visits, self.mapping, self.table, self.csv, self.out)
        problems = self.problems(self.likelihood)
        if not self.n_clusters or min(self.n_clusters) < 1:
            problems.append(f"--n-clusters: expected numbers of at least 1, got {list(self.n_clusters)}")
        packages = {"tensorboard": "tensorboardX", "mlflow": "mlflow"}
        problems += [
            f"--track {name}: needs its package; pip install 'jvade[{name}]'"
            for name in self.track
            if find_spec(packages[name]) is None
        ]
        if not 0 <= self.seed < SEEDS:
            problems.append(f"--seed: expected 0 to {SEEDS - 1}, got {self.seed}")
        try:
            self.configured()
        except ValueError as error:
            problems.append(str(error))
        if not self.model.finite:
            problems.append(f"--model: expected finite numbers, got {self.model}")
        if problems:
            raise InputError(problems, "settings")

    def configured(self) -> Configuration:
        """Return what these settings say of the clustering.

        Raises:
            ValueError: a setting that cannot be; says what was expected and what came.
        """
        return Configuration(
            self.model,
            self.training,
            self.mixture,
            self.widths,
            self.n_runs,
            self.likelihood,
            self.noise,
            self.responsibilities,
            self.covariance_type,
            self.linkage,
        )

    def estimator(self, found: rows.Rows) -> VaDE:
        """Return the estimator of these settings for some rows, not yet fitted."""
        numbers = list(self.n_clusters)
        return VaDE(
            numbers if len(numbers) > 1 else numbers[0],
            configuration=self.configured(),
            kinds=found.kinds,
            codes=found.codes,
            random_state=self.seed,
        )


def run(settings: FitSettings, terminal: Terminal) -> None:
    """Fit a model, write it, and say how far to trust it.

    Raises:
        InputError: the rows or a setting cannot be used; nothing was written.
        TrainingError: no run stayed finite.
    """
    began = datetime.now(UTC)
    settings.check()
    with terminal.step("rows"):
        found = settings.read()
    rows.say(found, terminal)
    check_size(len(found.frame), max(settings.n_clusters))
    columns = rows.learned(found)  # as the fit will: refused before anything is written
    rows.say_columns(settings, found, columns, terminal)
    if (settings.out / model_file.NAME).exists():
        terminal.say(f"  the model in {settings.out} will be replaced once this fit is done")
    kept = settings.out / PRIVATE / CHECKPOINTS / "fit"
    if not settings.resume:
        shutil.rmtree(kept, ignore_errors=True)
    folder = RunFolder(settings.out)
    folder.begin()
    atomic.private_folder(settings.out / PRIVATE)
    told = [hooks.show(terminal), hooks.jsonl(settings.out / hooks.METRICS)]
    told += [hooks.tensorboard(settings.out / "tensorboard")] if "tensorboard" in settings.track else []
    told += [hooks.mlflow()] if "mlflow" in settings.track else []
    model = settings.estimator(found).set_params(checkpoint=kept, on_block=hooks.every(*told))
    try:
        with terminal.step("fit"):
            model.fit(found.frame)
    except KeyboardInterrupt:
        again = "" if settings.resume else ", without --no-resume,"
        terminal.say(f"stopped; the same command{again} goes on from what is kept, in {settings.out}")
        raise
    labels = pd.DataFrame({"row": found.row, "cluster": model.labels_, "support": model.support_})
    folder.file(f"{PRIVATE}/labels.parquet", lambda path: labels.to_parquet(path, index=False))
    folder.table(f"{PRIVATE}/profiles", profiles(found.frame, model))
    path = model_file.save(model, settings.out / model_file.NAME, found.about)
    folder.finish(
        manifest.of_training(began, terminal.seconds, settings, found.about["source"])
        | {
            "resolved": manifest.plain(model.configuration_),
            "warnings": model.health_.warnings,
        },
        [*folder.written, path.name, f"{path.name}.md", hooks.METRICS],
    )
    if model.checkpoint_ is not None:  # only now is all of it in files
        checkpoints.remove(model.checkpoint_, settings.out)
    summary = {
        "cluster": [str(k) for k in range(model.n_clusters_)],
        "rows, %": [number(100 * share, ".1f") for share in model.shares_],
    }
    terminal.table(f"{model.n_clusters_} clusters of {model.n_rows_:,} rows", pd.DataFrame(summary))
    agreement = model.health_.agreement
    if not np.isnan(agreement) and model.linkage_ is not None:
        terminal.say(
            f"two runs agree at a mean adjusted Rand index of {agreement:.2f}; "
            f"their groups are joined by {WAYS[model.linkage_]} linkage"
        )
    for line in model.health_.lines:
        terminal.say(line)
    for line in model.health_.warnings:
        terminal.say(f"  warning: {line}", "yellow")
    terminal.say(f"Everything is in {settings.out}; next: jvade predict --model {path}")


def profiles(frame: pd.DataFrame, model: VaDE) -> pd.DataFrame:
    """Return what the clusters are like: a row for each number, 0/1 column and category.

    Means of the known values of numbers, percentages of the known of 0/1 columns, and of all rows of a
    category; of all rows, and of each cluster.
    """
    lines = []
    groups = {"all": slice(None)} | {str(k): model.labels_ == k for k in range(model.n_clusters_)}
    for place, column in enumerate(model.columns_.each):
        values = frame.iloc[:, place]
        if column.kind == "categorical":
            found = column.positions(values)
            parts = {str(one): 100.0 * (found == i) for i, one in enumerate(column.categories)}
        else:
            numbers = values.to_numpy(np.float64, na_value=np.nan)
            parts = {"": numbers if column.kind == "numeric" else 100 * numbers}
        what = "mean" if column.kind == "numeric" else "percent"
        for category, one in parts.items():
            series = pd.Series(one)
            means = {name: series[rows_].mean() for name, rows_ in groups.items()}
            lines.append({"column": str(column.name), "category": category, "is": what} | means)
    return pd.DataFrame(lines)
