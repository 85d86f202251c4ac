"""The programs that `throughput.py` times: each trains the same lanes and returns their validation losses."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jvade.core import lanes
from jvade.core.epoch import split_row
from jvade.core.layout import take_lane
from jvade.core.mixture import Mixture
from jvade.core.model import unpad
from jvade.core.settings import STUDY_BATCH, Architecture, Hyperparameters, Training

STAGES = ("pretraining", "fine-tuning")
NAMES = ("jvade", "tuned", "tuned, our weights", "tuned, compiled", "stacked", "idiomatic")
#: Ours in a process that takes a CPU for the one device that it is to JAX.
ONE_DEVICE = "jvade, one device"
#: That of another project: what it minimises is its own.
CLUSTPY = "ClustPy"
#: For CUDA only.
RECORDED = ("tuned, recorded", "tuned, compiled, recorded")


class Task(NamedTuple):
    """What a program is given.

    Args:
        x: rows; in PyTorch every lane holds out those that our first lane does.
        n_train: training rows; the rest are for validation.
        stage: one of `STAGES`.
        each: seed and settings of every lane, all of one number of clusters; the pretraining has none.
        epochs: to train.
    """

    x: np.ndarray
    n_train: int
    stage: str
    each: Sequence[tuple[int, Hyperparameters]]
    epochs: int

    @property
    def n_clusters(self) -> int:
        """Clusters of the mixture, 0 in the pretraining."""
        return 0 if self.stage == "pretraining" else self.each[0][1].n_clusters


def build(name: str, task: Task) -> Callable[[], np.ndarray]:
    """Return what trains every lane from its start, and returns its losses: lanes by epochs."""
    return jvade(task) if name in ("jvade", ONE_DEVICE) else pytorch(name, task)


def begin(task: Task) -> tuple[Any, lanes.Lane, Architecture]:
    """Return the starting parameters of all lanes, padded to the widest; their stack; their sizes."""
    widest, n_clusters = max(one.latent_dim for _, one in task.each), task.n_clusters
    sizes = Architecture(task.x.shape[1], widest, task.each[0][1].n_clusters)
    # Patience beyond the epochs: every lane does the same work.
    settings = [one._replace(patience=task.epochs + 1) for _, one in task.each]
    stack = lanes.stack([seed for seed, _ in task.each], settings)
    params = lanes.init(stack, sizes)
    if n_clusters:
        means = np.zeros((len(task.each), n_clusters, widest), np.float32)
        for i, (seed, one) in enumerate(task.each):
            drawn = np.random.default_rng(seed).normal(size=(n_clusters, one.latent_dim))
            means[i, :, : one.latent_dim] = drawn
        zeros = jnp.zeros(means.shape)
        params = params._replace(mixture=Mixture(zeros[:, :, 0], jnp.asarray(means), zeros))
    return params, stack, sizes


def jvade(task: Task) -> Callable[[], np.ndarray]:
    """Return the program of this project."""
    params, stack, sizes = begin(task)
    training = Training(
        STUDY_BATCH,  # as the programs in PyTorch have it
        max_epochs=task.epochs,
        validation_fraction=1 - task.n_train / len(task.x),
        block_epochs=task.epochs,
    )
    x = jnp.asarray(task.x)
    # What is timed stands for a training of the study's length: 100 epochs of 100,000 visits are 7,700 steps.
    lanes.LONG = lanes.SHARED_STEPS = lanes.SHARED_ALONE = 0

    def run() -> np.ndarray:
        trained = lanes.train(x, params, stack, task.stage, sizes, training)
        return -np.asarray(trained.history.validation.elbo())

    return run


def pytorch(name: str, task: Task) -> Callable[[], np.ndarray]:
    """Return one of the programs in PyTorch, on its accelerator if there is one.

    Every lane of it trains on the rows that our first lane trains on.
    """
    import torch  # pyright: ignore[reportMissingImports]
    from baselines import idiomatic, recorded, stacked, tuned
    from baselines.model import Vade

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True  # as XLA has it
    x = torch.as_tensor(np.array(task.x)).to("cpu" if name == "idiomatic" else device)
    params, stack, sizes = begin(task)
    x = x[torch.as_tensor(np.array(split_row(take_lane(stack, 0), jnp.arange(len(x)), len(x))))]
    training, validation = x[: task.n_train], x[task.n_train :]

    def begin_one(i: int) -> Vade:
        settings, transposed = task.each[i][1], name == "tuned, our weights"
        one, d = take_lane(params, i), settings.latent_dim
        alone = unpad(one, replace(sizes, latent_dim=d))
        vade = Vade(
            x.shape[1],
            d,
            task.n_clusters,
            noise_variance=settings.noise_variance,
            transposed=transposed,
        )
        return vade.load(alone.to_arrays()).to(device)

    recordings: dict[Hyperparameters, Any] = {}
    compilations: dict[tuple[int, float], tuple[Vade, Any]] = {}
    # Made once, as ours are; a call begins with copies.
    models = [begin_one(i) for i in range(len(task.each))]

    def tuned_and_compiled(model: Vade, *rest: Any) -> list[float]:
        # Compiled once for a shape and what the model knows of the settings: every lane's weights are put in.
        *_, settings = rest
        of_model = settings.latent_dim, settings.noise_variance
        if of_model not in compilations:
            compilations[of_model] = model, torch.compile(model, dynamic=False)
        own, forward = compilations[of_model]
        own.load_state_dict(model.state_dict())
        return tuned.train(own, *rest, forward=forward)

    def tuned_and_recorded(model: Vade, *rest: Any) -> list[float]:
        x, held_out, epochs, settings = rest
        # As long as the shape and the settings are those, what was recorded serves every lane.
        if settings not in recordings:
            compiled = name == "tuned, compiled, recorded"
            recordings[settings] = recorded.Training(model, x, held_out, settings, compiled=compiled)
        return recordings[settings].train(model, epochs)

    def one_by_one(train: Callable[..., list[float]]) -> np.ndarray:
        losses = []
        for i, (seed, settings) in enumerate(task.each):
            torch.manual_seed(seed)
            losses.append(train(deepcopy(models[i]), training, validation, task.epochs, settings))
        return np.array(losses)

    def side_by_side() -> np.ndarray:
        losses: dict[int, list[float]] = {}
        # Models of one shape can be stacked, if they share the settings of the optimizer.
        for settings in dict.fromkeys(one for _, one in task.each):
            which = [i for i, (_, one) in enumerate(task.each) if one == settings]
            torch.manual_seed(0)
            alike = [deepcopy(models[i]) for i in which]
            found = stacked.train(alike, training, validation, task.epochs, settings)
            losses |= dict(zip(which, np.transpose(found).tolist(), strict=True))
        return np.array([losses[i] for i in range(len(task.each))])

    if name == "stacked":
        return side_by_side
    if name in RECORDED:
        return partial(one_by_one, tuned_and_recorded)
    if name == "tuned, compiled":
        # One program for each number of latents and noise variance, the last batch, and training or not.
        torch._dynamo.config.recompile_limit = 64  # pyright: ignore[reportPrivateImportUsage]
        return partial(one_by_one, tuned_and_compiled)
    if name == CLUSTPY:
        from baselines import clustpy  # where it is installed

        return partial(one_by_one, clustpy.train)
    return partial(one_by_one, idiomatic.train if name == "idiomatic" else tuned.train)
