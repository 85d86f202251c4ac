"""Two-stage VaDE for a stack of lanes: VAE pretraining, mixture start, fine-tuning (sections 2.2, 3.4)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jvade.core import draws, em, gmm, model, shuffle
from jvade.core import lanes as lanes_
from jvade.core.em import GmmFit
from jvade.core.epoch import Lane, named_key, split_row
from jvade.core.gmm import EmSettings
from jvade.core.lanes import Keeper, Progress, Trained
from jvade.core.layout import over_lanes, place
from jvade.core.mixture import Mixture, mask
from jvade.core.model import Assignment, Parameters
from jvade.core.settings import Architecture, Training, not_among, unlike

#: What of each row the mixture is started on.
Latents = Literal["samples", "means"]


@dataclass(frozen=True)
class MixtureStart(EmSettings):
    """How the mixture of VaDE is started from the pretrained latents: on a subset, then on all training rows.

    Args:
        latents: "samples" fits it to one draw of q(z|x) a row: for the encoder as it is, that is the prior
            of the highest ELBO. "means" fits it to posterior means, which have thin ridges that the
            posterior's own variance blurs (benchmarks/mixture_starts.py compares the two).
        max_rows: training rows that EM goes on with, of a larger table a random part; None: all of them.
    """

    latents: Latents = "samples"
    max_rows: int | None = None

    def check(self) -> None:
        """Refuse settings that cannot be; see `EmSettings.check`."""
        super().check()
        problems = not_among("latents", self.latents, get_args(Latents))
        if self.max_rows is not None:
            problems += unlike("max_rows", self.max_rows, whole=True, least=1)
        if problems:
            raise ValueError("; ".join(problems))


class Fit(NamedTuple):
    """Both stages and what came between; every field has a leading lane axis.

    `sound` says which lanes went well, `failures` what went wrong in the others. `pretrained` is None where
    the networks came pretrained.
    """

    pretrained: Trained | None
    mixture_start: GmmFit
    finetuned: Trained

    @property
    def sound(self) -> Bool[Array, " S"]:
        """Which lanes are finite from end to end."""
        both = self.mixture_start.finite & self.finetuned.finite
        return both if self.pretrained is None else both & self.pretrained.finite


def subset(key: Key[Array, ""], n_rows: int, size: int) -> Array:
    """Return `size` distinct row numbers out of `n_rows` (all of them, if fewer), in random order."""
    return shuffle.permute(key, jnp.arange(min(size, n_rows)), n_rows)


def _start_one(
    params: Parameters,
    x: Float[Array, "N D"],
    lane: Lane,
    architecture: Architecture,
    training: Training,
    settings: MixtureStart,
) -> GmmFit:
    n_train, _ = training.split_sizes(x.shape[0])
    n_used = n_train if settings.max_rows is None else min(n_train, settings.max_rows)
    n_clusters, latent_dim = lane.hyperparameters.n_clusters, lane.hyperparameters.latent_dim
    taken = split_row(lane, jnp.arange(n_used), x.shape[0])
    posterior = model.encode_rows(params, x, architecture, latent_dim, taken)
    z = posterior.means
    if settings.latents == "samples":
        # Drawn for the whole table: what a row has does not depend on which others are taken.
        key = named_key(lane.key, "mixture samples")
        noise = draws.noise(key, architecture.latent_dim, x.shape[0]).T[taken]
        used = mask(architecture.latent_dim, latent_dim)
        z = z + jnp.where(used, jnp.exp(0.5 * posterior.log_variances) * noise, 0.0)
    few = z[subset(named_key(lane.key, "mixture rows"), n_used, settings.n_rows)]
    start = gmm.fit_one(
        named_key(lane.key, "mixture"),
        few,
        n_clusters,
        latent_dim,
        settings,
        architecture.n_clusters,
        architecture.covariance_type,
    )
    how = {"covariance_type": architecture.covariance_type, **settings.stopping}
    return em.fit(z, start.components, n_clusters, latent_dim, **how)


_start = over_lanes(_start_one, (0, None, 0), static_argnames=("architecture", "training", "settings"))


def start_mixtures(
    params: Parameters,
    x: Float[Array, "N D"],
    lanes: Lane,
    architecture: Architecture,
    training: Training,
    settings: MixtureStart,
) -> GmmFit:
    """Fit each lane's mixture to its latents: on a subset first, then on all training rows, or `max_rows`.

    Validation rows have no part in it, so that early stopping of the fine-tuning stays honest.
    """
    return _start(
        params,
        x,
        lanes,
        layout=training.layout,
        architecture=architecture,
        training=training,
        settings=settings,
    )


def mixtures(start: GmmFit) -> Mixture:
    """Return what EM fitted to every lane in the parameters that fine-tuning trains.

    A cluster that EM left without rows keeps a small weight, so that it may still win some.
    """
    mixture = jax.vmap(em.as_mixture)(start.components)
    return mixture._replace(logits=jnp.maximum(mixture.logits, math.log(1e-8)))


def fit(
    x: Float[Array, "N D"],
    lanes: Lane,
    architecture: Architecture,
    training: Training,
    mixture_start: MixtureStart,
    on_block: Callable[[Progress], None] | None = None,
    keeper: Keeper | None = None,
) -> Fit:
    """Train two-stage VaDE on every lane.

    Args:
        x: standardised rows, finite; used by all lanes.
        lanes: a stack, see `lanes.stack`.
        architecture: static sizes, at least as large as any lane's.
        training: batch, epochs, split, layout.
        mixture_start: how the mixture starts.
        on_block: called with a `Progress` when a stage begins and after every block of its epochs.
        keeper: keeps the states of both stages, see `lanes.train`.
    """
    x = place(x, training.layout)
    params = lanes_.init(lanes, architecture)
    pretrained = lanes_.train(x, params, lanes, "pretraining", architecture, training, on_block, keeper)
    fit = fine_tune(x, pretrained.params, lanes, architecture, training, mixture_start, on_block, keeper)
    return fit._replace(pretrained=pretrained)


def fine_tune(
    x: Float[Array, "N D"],
    params: Parameters,
    lanes: Lane,
    architecture: Architecture,
    training: Training,
    mixture_start: MixtureStart,
    on_block: Callable[[Progress], None] | None = None,
    keeper: Keeper | None = None,
) -> Fit:
    """Start a mixture on the latents of pretrained lanes and train VaDE: the second half of `fit`.

    Args:
        x: see `fit`.
        params: pretrained networks, stacked.
        lanes: see `fit`.
        architecture: see `fit`.
        training: see `fit`.
        mixture_start: see `fit`.
        on_block: see `fit`.
        keeper: see `fit`.

    Returns:
        A fit without its first stage: `pretrained` is None.
    """
    start = start_mixtures(params, x, lanes, architecture, training, mixture_start)
    params = params._replace(mixture=mixtures(start))
    finetuned = lanes_.train(x, params, lanes, "fine-tuning", architecture, training, on_block, keeper)
    return Fit(None, start, finetuned)


def failures(fit: Fit, names: Sequence[str] | None = None) -> list[str]:
    """Return one line for each lane that went wrong: which, where, and what to try.

    Args:
        fit: what was trained.
        names: of the lanes; "lane 0" and so on if not given.
    """
    messages = []
    sound = jnp.ones_like(fit.finetuned.finite)
    first = sound if fit.pretrained is None else fit.pretrained.finite
    stages = (
        ("pretraining", first, "try a lower learning rate or a larger noise variance"),
        ("mixture start", fit.mixture_start.finite, "try fewer clusters or a larger reg_covar"),
        ("fine-tuning", fit.finetuned.finite, "try a lower learning rate or a larger noise variance"),
    )
    for lane in range(fit.finetuned.finite.shape[0]):
        for stage, finite, remedy in stages:
            if not bool(finite[lane]):
                name = f"lane {lane}" if names is None else names[lane]
                messages.append(f"{name} went non-finite in the {stage} and was stopped; {remedy}")
                break
    return messages


def assign(params: Parameters, x: Float[Array, "N D"], lane: Lane, architecture: Architecture) -> Assignment:
    """Place every row under one lane's parameters; see `model.assign`."""
    hyper = lane.hyperparameters
    return model.assign(params, jnp.asarray(x), architecture, hyper.latent_dim, hyper.n_clusters)
