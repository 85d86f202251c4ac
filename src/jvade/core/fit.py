"""Two-stage VaDE for a stack of lanes: VAE pretraining, mixture start, fine-tuning (sections 2.2, 3.4)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jvade.core import gmm, model, shuffle
from jvade.core import lanes as lanes_
from jvade.core.epoch import Lane, draw_noise, named_key, split_row
from jvade.core.gmm import GmmFit
from jvade.core.lanes import Progress, Trained
from jvade.core.layout import over_lanes
from jvade.core.mixture import Mixture, mask
from jvade.core.model import Assignment, Parameters
from jvade.core.settings import Architecture, Training


@dataclass(frozen=True)
class MixtureStart:
    """How the mixture of VaDE is started from the pretrained latents.

    Args:
        latents: "samples" fits it to one draw of q(z|x) a row: for the encoder as it is, that is the prior
            of the highest ELBO. "means" fits it to posterior means, which have thin ridges that the
            posterior's own variance blurs (benchmarks/mixture_starts.py compares the two).
        n_rows: rows of the first fit, a random subset per lane; it is refined on all training rows.
        n_init: short runs of EM, of which the best few are continued.
        short_iter: EM steps of a short run.
        max_iter: EM iterations at most, on the subset and again on all training rows.
        tol: gain per row below which EM has converged.
        reg_covar: added to every variance.
    """

    latents: Literal["samples", "means"] = "samples"
    n_rows: int = 20_000
    n_init: int = 60
    short_iter: int = 10
    max_iter: int = 200
    tol: float = 1e-5
    reg_covar: float = 1e-6


class Fit(NamedTuple):
    """Both stages and what came between; every field has a leading lane axis.

    A lane is sound where `pretrained.finite`, `mixture_start.finite` and `finetuned.finite` all hold;
    `failures` says it in words.
    """

    pretrained: Trained
    mixture_start: GmmFit
    finetuned: Trained


def subset(key: Key[Array, ""], n_rows: int, size: int) -> Array:
    """Return `size` distinct row numbers out of `n_rows` (all of them, if fewer), in random order."""
    return shuffle.permute(key, jnp.arange(min(size, n_rows)), n_rows)


@partial(jax.jit, static_argnames=("architecture", "training", "settings"))
def start_mixtures(
    params: Parameters,
    x: Float[Array, "N D"],
    lanes: Lane,
    architecture: Architecture,
    training: Training,
    settings: MixtureStart,
) -> GmmFit:
    """Fit each lane's mixture to its latents: on a subset first, then on all training rows.

    Validation rows have no part in it, so that early stopping of the fine-tuning stays honest.
    """
    n_train, _ = training.split_sizes(x.shape[0])
    options = {"max_iter": settings.max_iter, "tol": settings.tol, "reg_covar": settings.reg_covar}

    def one(params: Parameters, lane: Lane) -> GmmFit:
        n_clusters, latent_dim = lane.hyperparameters.n_clusters, lane.hyperparameters.latent_dim
        posterior = model.encode_rows(params, x, architecture, latent_dim)
        z = posterior.means
        if settings.latents == "samples":
            noise = draw_noise(named_key(lane.key, "mixture samples"), *z.shape)
            used = mask(architecture.latent_dim, latent_dim)
            z = z + jnp.where(used, jnp.exp(0.5 * posterior.log_variances) * noise, 0.0)
        z = z[split_row(lane, jnp.arange(n_train), x.shape[0])]
        few = z[subset(named_key(lane.key, "mixture rows"), n_train, settings.n_rows)]
        start = gmm.fit_one(
            named_key(lane.key, "mixture"),
            few,
            n_clusters,
            latent_dim,
            max_clusters=architecture.n_clusters,
            n_init=settings.n_init,
            short_iter=settings.short_iter,
            **options,
        )
        return gmm.em(z, start.components, n_clusters, latent_dim, **options)

    return over_lanes(one, training.layout)(params, lanes)


def mixtures(start: GmmFit) -> Mixture:
    """Return what EM fitted to every lane in the parameters that fine-tuning trains.

    A cluster that EM left without rows keeps a small weight, so that it may still win some.
    """
    mixture = jax.vmap(gmm.as_mixture)(start.components)
    return mixture._replace(logits=jnp.maximum(mixture.logits, math.log(1e-8)))


def fit(
    x: Float[Array, "N D"],
    lanes: Lane,
    architecture: Architecture,
    training: Training,
    mixture_start: MixtureStart,
    on_block: Callable[[Progress], None] | None = None,
) -> Fit:
    """Train two-stage VaDE on every lane.

    Args:
        x: standardised rows, finite; used by all lanes.
        lanes: a stack, see `lanes.stack`.
        architecture: static sizes, at least as large as any lane's.
        training: batch, epochs, split, layout.
        mixture_start: how the mixture starts.
        on_block: called with a `Progress` when a stage begins and after every block of its epochs.
    """
    x = jnp.asarray(x)
    params = lanes_.init(lanes, architecture)
    pretrained = lanes_.train(x, params, lanes, "pretraining", architecture, training, on_block)
    start = start_mixtures(pretrained.params, x, lanes, architecture, training, mixture_start)
    params = pretrained.params._replace(mixture=mixtures(start))
    finetuned = lanes_.train(x, params, lanes, "fine-tuning", architecture, training, on_block)
    return Fit(pretrained, start, finetuned)


def failures(fit: Fit) -> list[str]:
    """Return one line for each lane that went wrong: which, where, and what to try."""
    messages = []
    stages = (
        ("pretraining", fit.pretrained.finite, "try a lower learning rate or a larger noise variance"),
        ("mixture start", fit.mixture_start.finite, "try fewer clusters or a larger reg_covar"),
        ("fine-tuning", fit.finetuned.finite, "try a lower learning rate or a larger noise variance"),
    )
    for lane in range(fit.finetuned.finite.shape[0]):
        for stage, finite, remedy in stages:
            if not bool(finite[lane]):
                messages.append(f"lane {lane} went non-finite in the {stage} and was stopped; {remedy}")
                break
    return messages


def assign(params: Parameters, x: Float[Array, "N D"], lane: Lane, architecture: Architecture) -> Assignment:
    """Place every row under one lane's parameters; see `model.assign`."""
    hyper = lane.hyperparameters
    return model.assign(params, jnp.asarray(x), architecture, hyper.latent_dim, hyper.n_clusters)
