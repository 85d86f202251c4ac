"""The programs that `throughput.py` times: each trains the same lanes and returns their validation losses."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jvade.core import lanes
from jvade.core.layout import take_lane
from jvade.core.mixture import Mixture
from jvade.core.model import unpad
from jvade.core.settings import Architecture, Hyperparameters, Training

#: Clusters by stage; the pretraining has none.
N_CLUSTERS = {"pretraining": 0, "fine-tuning": 7}
NAMES = ("jvade", "tuned", "tuned, our weights", "tuned, compiled", "stacked", "idiomatic")


class Task(NamedTuple):
    """What a program is given.

    Args:
        x: rows; each program parts them on its own, or takes the first `n_train`.
        n_train: training rows; the rest are for validation.
        stage: a key of `N_CLUSTERS`.
        each: seed and number of latents of every lane.
        epochs: to train.
    """

    x: np.ndarray
    n_train: int
    stage: str
    each: Sequence[tuple[int, int]]
    epochs: int


def build(name: str, task: Task) -> Callable[[], np.ndarray]:
    """Return what trains every lane from its start, and returns its losses: lanes by epochs."""
    return jvade(task) if name == "jvade" else pytorch(name, task)


def begin(task: Task) -> tuple[Any, lanes.Lane, Architecture]:
    """Return the starting parameters of all lanes, padded to the widest; their stack; their sizes."""
    widest, n_clusters = max(d for _, d in task.each), N_CLUSTERS[task.stage]
    sizes = Architecture(task.x.shape[1], widest, max(n_clusters, 1))
    # Patience beyond the epochs: every lane does the same work.
    settings = [
        Hyperparameters(latent_dim=d, n_clusters=sizes.n_clusters, patience=task.epochs + 1)
        for _, d in task.each
    ]
    stack = lanes.stack([seed for seed, _ in task.each], settings)
    params = lanes.init(stack, sizes)
    if n_clusters:
        means = np.zeros((len(task.each), n_clusters, widest), np.float32)
        for i, (seed, d) in enumerate(task.each):
            means[i, :, :d] = np.random.default_rng(seed).normal(size=(n_clusters, d))
        zeros = jnp.zeros(means.shape)
        params = params._replace(mixture=Mixture(zeros[:, :, 0], jnp.asarray(means), zeros))
    return params, stack, sizes


def jvade(task: Task) -> Callable[[], np.ndarray]:
    """Return the program of this project."""
    params, stack, sizes = begin(task)
    training = Training(
        max_epochs=task.epochs,
        validation_fraction=1 - task.n_train / len(task.x),
        block_epochs=task.epochs,
    )
    x = jnp.asarray(task.x)

    def run() -> np.ndarray:
        trained = lanes.train(x, params, stack, task.stage, sizes, training)
        return -np.asarray(trained.history.validation.elbo())

    return run


def pytorch(name: str, task: Task) -> Callable[[], np.ndarray]:
    """Return one of the programs in PyTorch, on its accelerator if there is one."""
    import torch  # pyright: ignore[reportMissingImports]
    from baselines import idiomatic, stacked, tuned
    from baselines.model import Vade

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    x = torch.as_tensor(np.array(task.x)).to("cpu" if name == "idiomatic" else device)
    x = x[torch.as_tensor(np.random.default_rng(0).permutation(len(x)))]
    training, validation = x[: task.n_train], x[task.n_train :]
    params, _, sizes = begin(task)

    def model(i: int) -> Vade:
        d, transposed = task.each[i][1], name == "tuned, our weights"
        one = take_lane(params, i)
        alone = unpad(one, replace(sizes, latent_dim=d))
        if one.mixture is not None:
            logits, means, log_variances = one.mixture
            alone = alone._replace(mixture=Mixture(logits, means[:, :d], log_variances[:, :d]))
        vade = Vade(x.shape[1], d, N_CLUSTERS[task.stage], transposed=transposed)
        return vade.load(alone.to_arrays()).to(device)

    def tuned_and_compiled(model: Vade, *rest: Any) -> list[float]:
        return tuned.train(model, *rest, forward=torch.compile(model, dynamic=False))

    def one_by_one(train: Callable[..., list[float]]) -> np.ndarray:
        losses = []
        for i, (seed, _) in enumerate(task.each):
            torch.manual_seed(seed)
            losses.append(train(model(i), training, validation, task.epochs))
        return np.array(losses)

    def side_by_side() -> np.ndarray:
        losses: dict[int, list[float]] = {}
        for d in sorted({d for _, d in task.each}):  # models of one shape can be stacked
            which = [i for i, (_, one) in enumerate(task.each) if one == d]
            torch.manual_seed(0)
            found = stacked.train([model(i) for i in which], training, validation, task.epochs)
            losses |= dict(zip(which, np.transpose(found).tolist(), strict=True))
        return np.array([losses[i] for i in range(len(task.each))])

    if name == "stacked":
        return side_by_side
    if name == "tuned, compiled":
        # One for each number of latents, of the last batch, and of training or not.
        torch._dynamo.config.recompile_limit = 64  # pyright: ignore[reportPrivateImportUsage]
        return partial(one_by_one, tuned_and_compiled)
    return partial(one_by_one, idiomatic.train if name == "idiomatic" else tuned.train)
