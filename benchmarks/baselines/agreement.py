"""PyTorch against ours: loss and gradients of the model, and losses after steps of every program."""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jvade.core import draws, epoch, lanes
from jvade.core.layout import take_lane
from jvade.core.mixture import Mixture
from jvade.core.model import Parameters
from jvade.core.objective import elbo_terms
from jvade.core.settings import Architecture, Hyperparameters, Training

from . import idiomatic, recorded, stacked, tuned
from .model import Vade

#: Largest difference allowed, relative to the loss, and by norm to each tensor of the gradient.
ALLOWED = {"float64": 1e-9, "float32": 1e-4}
#: The same of losses after steps in double precision: PyTorch adds 1e-6 to the norm that it clips by.
ALLOWED_AFTER_STEPS = 1e-6


def check_all(n_features: int, latent_dim: int, n_clusters: int) -> dict[str, Any]:
    """Return what `check` and `check_steps` ("after steps") find."""
    steps = check_steps(n_features, latent_dim, n_clusters)
    return check(n_features, latent_dim, n_clusters) | {"after steps": steps}


def check(n_features: int, latent_dim: int, n_clusters: int) -> dict[str, float]:
    """Return the largest relative difference of loss and gradients in double and in single precision.

    Args:
        n_features: width of a row.
        latent_dim: latents.
        n_clusters: clusters of the mixture; 0 is the pretraining.

    Raises:
        RuntimeError: they differ by more than `ALLOWED`: what would be timed is not the same model.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    found = {name: _difference(n_features, latent_dim, n_clusters, name) for name in ALLOWED}
    if bad := {name: value for name, value in found.items() if not value <= ALLOWED[name]}:
        raise RuntimeError(f"expected differences of at most {ALLOWED}, got {bad}: not the same model")
    return found


def check_steps(n_features: int, latent_dim: int, n_clusters: int, n_steps: int = 5) -> dict[str, float]:
    """Return the largest relative difference of the losses of each way to train from ours, after every step.

    A step is an epoch of one batch here, and there is no noise: order and draws are every program's own. On
    the accelerator, where PyTorch finds one. What is compiled and recorded both is recorded only here, and
    sums up its losses in single precision.

    Args:
        n_features: width of a row.
        latent_dim: latents.
        n_clusters: clusters of the mixture; 0 is the pretraining.
        n_steps: how many.

    Raises:
        RuntimeError: one differs by more than `ALLOWED_AFTER_STEPS`.
    """
    x = np.random.default_rng(1).normal(size=(512, n_features))
    # So that the clip binds and the decay matters.
    hyper = Hyperparameters(
        latent_dim=latent_dim,
        n_clusters=max(n_clusters, 1),
        learning_rate=1e-2,
        weight_decay=0.1,
        clip_norm=0.5,
        patience=n_steps + 1,
    )
    training = Training(len(x), max_epochs=n_steps, validation_fraction=0.25)
    n_train, _ = training.split_sizes(len(x))
    with jax.enable_x64(True), patch.object(draws, "noise", lambda _, d, n: jnp.zeros((d, n))):
        lane = take_lane(lanes.without_what_is_off(lanes.stack([0], hyper)), 0)
        params, sizes = _parameters(n_features, latent_dim, n_clusters, "float64")
        stage = "fine-tuning" if n_clusters else "pretraining"
        begin = epoch.start(params, lane, stage, training)
        run = jax.jit(partial(epoch.run_block, architecture=sizes, training=training))
        ours = -np.asarray(run(begin, jnp.asarray(x), lane, jnp.asarray(n_steps)).history.validation.elbo())
        order = np.asarray(epoch.split_row(lane, jnp.arange(len(x)), len(x)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = torch.as_tensor(x[order], device=device)

    def vade(transposed: bool = False) -> Vade:
        sizes = n_features, latent_dim, n_clusters
        model = Vade(*sizes, noise_variance=hyper.noise_variance, transposed=transposed)
        return model.double().load(params.to_arrays()).to(device)

    def losses(train: Callable[..., Any], model: Any) -> Any:
        return train(model, rows[:n_train], rows[n_train:], n_steps, hyper)

    def no_noise(*shape: int, device: Any = None) -> torch.Tensor:
        return torch.zeros(*shape, dtype=torch.float64, device=device)

    compiled = vade()
    with patch.object(torch, "randn", no_noise), patch.object(torch.Tensor, "normal_", torch.Tensor.zero_):
        recording = recorded.Training(vade(), rows[:n_train], rows[n_train:], hyper)
        theirs = {
            "idiomatic": losses(idiomatic.train, vade()),
            "tuned": losses(tuned.train, vade()),
            "tuned, our weights": losses(tuned.train, vade(transposed=True)),
            "tuned, compiled": losses(
                partial(tuned.train, forward=torch.compile(compiled, dynamic=False)), compiled
            ),
            "tuned, recorded": recording.train(vade(), n_steps),  # without CUDA its steps run unrecorded
            "stacked": losses(stacked.train, [vade(), vade()]),
        }
    each = {name: np.asarray(found).reshape(n_steps, -1).T for name, found in theirs.items()}
    found = {name: float(np.max(np.abs(values / ours - 1))) for name, values in each.items()}
    if bad := {name: value for name, value in found.items() if not value <= ALLOWED_AFTER_STEPS}:
        raise RuntimeError(
            f"expected losses within {ALLOWED_AFTER_STEPS} of ours, got {bad}: not the same steps"
        )
    return found


def _parameters(
    n_features: int, latent_dim: int, n_clusters: int, dtype: str
) -> tuple[Parameters, Architecture]:
    """Return parameters to begin with, the mixture drawn at random, and their sizes."""
    rng = np.random.default_rng(0)
    hyper = Hyperparameters(latent_dim=latent_dim, n_clusters=max(n_clusters, 1))
    sizes = Architecture(n_features, latent_dim, max(n_clusters, 1))
    params = epoch.init(take_lane(lanes.stack([0], hyper), 0), sizes)
    if n_clusters:
        shape = (n_clusters, latent_dim)
        params = params._replace(
            mixture=Mixture(*(jnp.asarray(rng.normal(size=s)) for s in ((n_clusters,), shape, shape)))
        )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params), sizes


def _difference(n_features: int, latent_dim: int, n_clusters: int, dtype: str) -> float:
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        rng = np.random.default_rng(1)
        x, noise = rng.normal(size=(512, n_features)), rng.normal(size=(512, latent_dim))
        hyper = Hyperparameters(latent_dim=latent_dim, n_clusters=max(n_clusters, 1))
        params, sizes = _parameters(n_features, latent_dim, n_clusters, dtype)

        def loss(params: Parameters) -> jax.Array:
            terms = elbo_terms(params, jnp.asarray(x, dtype), jnp.asarray(noise, dtype), sizes, hyper)
            return -jnp.mean(terms.elbo())

        ours, slopes = jax.jit(jax.value_and_grad(loss))(params)
        largest = 0.0
        for transposed in (False, True):
            model = Vade(n_features, latent_dim, n_clusters, transposed=transposed)
            model = model.to(getattr(torch, dtype)).load(params.to_arrays())
            like = Vade(n_features, latent_dim, n_clusters, transposed=transposed)
            like = like.to(getattr(torch, dtype)).load(slopes.to_arrays())
            rows, draws = (torch.as_tensor(part).to(model.output.bias) for part in (x, noise))
            theirs = model(rows, draws).mean()
            theirs.backward()
            pairs = zip(model.parameters(), like.parameters(), strict=True)
            differences = [
                float((a.grad - b).norm() / b.norm()) for a, b in ((a, b.detach()) for a, b in pairs)
            ]
            largest = max(largest, abs(theirs.item() / float(ours) - 1), *differences)
    return largest
