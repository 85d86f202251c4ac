"""The model: VAEs of every latent dimension, then VaDE (sections 2.3, 2.4 and 3.4; Figs 3 and 5)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jvade import ensemble
from jvade.analysis.comparison import number_by_cross_rate
from jvade.clustering import TrainingError, history
from jvade.core import fit, gmm, lanes, model
from jvade.core.epoch import Lane
from jvade.core.layout import take_lane
from jvade.core.model import Parameters
from jvade.core.settings import Architecture, Hyperparameters
from jvade.ensemble import Ensemble
from jvade.paper.stage import Outcome, Stage, Study
from jvade.paper.stages import cohort
from jvade.report.figures import training as figures

TRAINED_BY = ("seed", "model", "training", "widths")


def architecture(study: Study, latent_dim: int | None = None) -> Architecture:
    """Return the sizes of the networks, with the latents of the study's model if not said otherwise."""
    settings = study.settings
    return Architecture(
        len(study.outcome("cohort").values["inputs"]),
        settings.model.latent_dim if latent_dim is None else latent_dim,
        settings.model.n_clusters,
        settings.widths,
    )


def unfinished(name: str, bound: str, converged: Mapping[str, bool]) -> list[str]:
    """Return a warning that names the lanes that a bound of the epochs ended, and not their patience."""
    lanes_ = [one for one, done in converged.items() if not done]
    if not lanes_:
        return []
    which = "" if len(converged) == 1 else f" of {', '.join(lanes_)}"
    flag = f"--training.{bound.replace('_', '-')}"
    return [f"{name}{which} ended at {flag}, before patience ran out; more epochs may improve it"]


def pretrain(study: Study) -> Outcome:
    """Train a VAE of every latent dimension, as lanes of one stack."""
    settings, dims = study.settings, study.settings.latent_dims
    stack = lanes.stack([settings.seed] * len(dims), [settings.model._replace(latent_dim=d) for d in dims])
    padded = architecture(study, max(dims))
    trained = lanes.train(
        cohort.load(study).x,
        lanes.init(stack, padded),
        stack,
        "pretraining",
        padded,
        settings.training,
        study.told("pretraining"),
        study.checkpoints("pretraining"),
    )
    names = [f"{d} latents" for d in dims]
    bad = [name for name, finite in zip(names, np.asarray(trained.finite), strict=True) if not finite]
    if bad:
        raise TrainingError(
            f"the VAE of {', '.join(bad)} went non-finite in the pretraining and was stopped; "
            "try a lower learning rate or a larger noise variance"
        )
    arrays: dict[str, Any] = {}
    for i, d in enumerate(dims):
        # Each lane is kept without its padding: what it would be alone.
        params = model.unpad(take_lane(trained.params, i), architecture(study, d))
        arrays |= {f"{d}/{name}": value for name, value in params.to_arrays().items()}
    kl_weight = settings.model.of_stage(pretraining=True).kl_weight
    own = history(trained, dims.index(settings.model.latent_dim), kl_weight)
    values = {
        "latent_dims": dims,
        "best_loss": np.asarray(trained.best_loss, float).tolist(),
        "epochs": np.asarray(trained.n_epochs).tolist(),
    }
    converged = dict(zip(names, np.asarray(trained.converged).tolist(), strict=True))
    warnings = unfinished("pretraining", settings.training.pretraining_bound, converged)
    return Outcome({"fig3_pretraining": own}, values, arrays, warnings=tuple(warnings))


def pretrained(study: Study, latent_dim: int) -> Parameters:
    """Return the VAE with so many latents."""
    return parameters(study.outcome("pretraining").arrays, f"{latent_dim}/")


def parameters(arrays: Mapping[str, Any], prefix: str) -> Parameters:
    """Return the parameters kept under a prefix."""
    return Parameters.from_arrays(
        {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    )


def encode(study: Study, latent_dim: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the pretrained latents (posterior means) of the visits, or of some rows of them."""
    sizes, model_ = architecture(study, latent_dim), study.settings.model._replace(latent_dim=latent_dim)
    vae = jax.tree.map(lambda leaf: leaf[None], pretrained(study, latent_dim))
    one = Ensemble(vae, lanes.stack([study.settings.seed], model_).hyperparameters, sizes, None, 0)

    def means(x: np.ndarray) -> np.ndarray:
        return np.asarray(ensemble.encode(one, x).means)

    matrix = cohort.load(study).matrix
    if rows is not None:
        return means(matrix[rows])
    return study.derived(f"latents {latent_dim}", lambda: means(matrix))


def fine_tune(study: Study) -> Outcome:
    """Start the mixture on the pretrained latents, train VaDE, and place every visit (section 3.4)."""
    settings = study.settings
    sizes, x = architecture(study), cohort.load(study).x
    stack = lanes.stack([settings.seed], settings.model)
    params = jax.tree.map(lambda leaf: leaf[None], pretrained(study, settings.model.latent_dim))
    on_block, kept = study.told("fine-tuning"), study.checkpoints("fine-tuning")
    result = fit.fine_tune(x, params, stack, sizes, settings.training, settings.mixture, on_block, kept)
    raise_failures(result, [f"seed {settings.seed}"])
    placed = place(x, result, stack, 0, sizes)
    labels = number_by_cross_rate(placed["clusters"], cohort.load(study).table.outcome)
    numbers = np.full(settings.model.n_clusters, -1)  # of each component; -1 where it has no visit
    numbers[placed["clusters"]] = labels
    start = [
        f"start of VaDE: {text}" for text in gmm.warnings(result.mixture_start, settings.mixture.reg_covar)
    ]
    trained = result.finetuned
    return Outcome(
        {"fig5_finetuning": history(trained, 0, settings.model.kl_weight)},
        {
            "epochs": int(trained.n_epochs[0]),
            "best_loss": float(trained.best_loss[0]),
            "alive": int(labels.max()),
            "converged": bool(trained.converged[0]),
        },
        {
            "labels": labels,
            "latents": placed["latents"],
            "responsibility": placed["responsibility"],
            "numbers": numbers,
        }
        | {f"model/{name}": value for name, value in take_lane(trained.params, 0).to_arrays().items()},
        {"labels": label_table(study, labels, placed["responsibility"])},
        tuple(
            start
            + died(labels, settings.model)
            + unfinished("fine-tuning", "max_epochs", {f"seed {settings.seed}": bool(trained.converged[0])})
        ),
    )


def label_table(study: Study, labels: np.ndarray, responsibility: np.ndarray) -> pd.DataFrame:
    """Return the cluster of every visit for the analyst: private."""
    frame = cohort.load(study).table.frame
    return pd.DataFrame(
        {"row": frame["row"], "cluster": labels.astype(np.int16), "responsibility": responsibility}
    )


def place(
    x: ensemble.Rows, result: fit.Fit, stack: Lane, lane: int, sizes: Architecture
) -> dict[str, np.ndarray]:
    """Return the latents, the component (from 0) and its responsibility of every visit, in one lane."""
    every = Ensemble(result.finetuned.params, stack.hyperparameters, sizes, None, lane)
    clusters, responsibility = ensemble.place(every.alone(lane), x)
    latents = np.asarray(ensemble.encode(every, x).means)
    return {"latents": latents, "clusters": clusters, "responsibility": responsibility}


def raise_failures(result: fit.Fit, names: Sequence[str]) -> None:
    """Stop where a lane went non-finite.

    Raises:
        TrainingError: which lanes, where, and what to try.
    """
    failures = fit.failures(result, names)
    if failures:
        raise TrainingError("; ".join(failures))


def died(labels: np.ndarray, hyperparameters: Hyperparameters) -> list[str]:
    """Return a warning if clusters have no visit."""
    dead = hyperparameters.n_clusters - len(np.unique(labels))
    if not dead:
        return []
    return [
        f"{dead} of {hyperparameters.n_clusters} clusters of the two-stage VaDE died: no visit is in them; "
        "compare several seeds, or ask for fewer clusters"
    ]


def draw(name: str, title: str) -> Callable[[Study, Outcome], Mapping[str, Figure]]:
    """Return what draws the losses of a stage."""

    def curves(_: Study, found: Outcome) -> Mapping[str, Figure]:
        losses = found.tables[name]
        kept = 1 + int(np.argmin(losses["validation_loss"].to_numpy()))
        return {
            name: figures.training_curves(losses, title, kept),
            f"{name}_terms": figures.terms(losses, title),
        }

    return curves


PRETRAINING = Stage(
    "pretraining",
    "sections 2.3, 2.4 and 3.4, Fig 3",
    ("cohort",),
    (*TRAINED_BY, "latent_dims"),
    pretrain,
    draw("fig3_pretraining", "VAE pretraining"),
)
FINE_TUNING = Stage(
    "fine-tuning",
    "section 3.4, Fig 5",
    ("cohort", "pretraining"),
    (*TRAINED_BY, "mixture"),
    fine_tune,
    draw("fig5_finetuning", "VaDE fine-tuning"),
)
