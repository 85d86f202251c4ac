"""A sweep: every combination of some settings, from every seed, as lanes of one computation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float, Int

from jvade import ensemble
from jvade.analysis import stability
from jvade.clustering import PAPER, Configuration
from jvade.core import fit, lanes
from jvade.core.epoch import Lane
from jvade.core.fit import Fit
from jvade.core.lanes import Keeper, Progress
from jvade.core.settings import Architecture, Block, Hyperparameters
from jvade.ensemble import Ensemble


class Sweep(NamedTuple):
    """What a sweep found.

    Args:
        table: a row per lane, the best setting first; see `sweep`. Its column `lane` is the place of the run
            in all that follows.
        labels: cluster of each row in each lane, 0 to K-1; of a lane that failed they mean nothing.
        fit: both stages of every lane.
        lanes: seed and settings of every lane.
        architecture: sizes of the padded lanes, for `core.fit.assign`.
        failures: what went wrong, a line for each lane that failed.
        configurations: of each lane.
        seeds: of each lane.
    """

    table: pd.DataFrame
    labels: Int[np.ndarray, "S N"]
    fit: Fit
    lanes: Lane
    architecture: Architecture
    failures: list[str]
    configurations: list[Configuration]
    seeds: list[int]

    def summary(self) -> pd.DataFrame:
        """Return a row per setting, the best first: means over the seeds.

        Beside them the standard deviation (ddof 1) of the ELBO, the fewest clusters, whether all seeds
        converged, and `behind`: by how much the ELBO is below that of the best setting, from the same seeds,
        with the standard error of that mean in `behind_se` (NaN of one seed).
        """
        names = list(self.table.columns)
        settings = ["rank", *names[names.index("lane") + 1 : names.index("seed")]]
        means = ("elbo", "kl", "epochs", "agreement", "smallest_share")
        taken: dict[str, Any] = {name: (name, lambda column: column.mean(skipna=False)) for name in means}
        taken |= {"elbo_sd": ("elbo", lambda column: column.std(ddof=1, skipna=False))}
        taken |= {"fewest_clusters": ("clusters", "min"), "converged": ("converged", "all")}
        found = self.table.groupby(settings, as_index=False, dropna=False).agg(**taken)
        # A seed holds out the same rows and draws the same noise for every setting.
        elbo = self.table.pivot(index="rank", columns="seed", values="elbo").to_numpy()
        behind, n_seeds = elbo[0] - elbo, elbo.shape[1]
        found["behind"] = behind.mean(axis=1)
        found["behind_se"] = behind.std(axis=1, ddof=1) / np.sqrt(n_seeds) if n_seeds > 1 else np.nan
        return found


def combinations(base: Hyperparameters, over: Mapping[str, Sequence[float]]) -> list[Hyperparameters]:
    """Return every combination of the values, the last name fastest.

    Args:
        base: gives the settings that are not tried.
        over: values to try, by name of a setting.

    Raises:
        ValueError: a name that is no setting, no values, or the same value twice.
    """
    problems = [
        f"{name}: no such setting; there are {', '.join(Hyperparameters._fields)}"
        for name in over
        if name not in Hyperparameters._fields
    ]
    lists = {name: list(values) for name, values in over.items()}
    problems += _unlike_a_list_of_different(lists)
    if problems:
        raise ValueError("; ".join(problems))
    return [base._replace(**dict(zip(lists, values, strict=True))) for values in product(*lists.values())]


def _unlike_a_list_of_different(lists: Mapping[str, Sequence[float]]) -> list[str]:
    """Return a line for each list that is empty or has a value twice."""
    empty = [f"{name}: expected one value or more, got none" for name, values in lists.items() if not values]
    return empty + [
        f"{name}: expected each value once, got {values}"
        for name, values in lists.items()
        if len(set(values)) < len(values)
    ]


def sweep(
    x: Float[np.ndarray, "N D"] | Float[Array, "N D"],
    over: Mapping[str, Sequence[float]],
    *,
    seeds: Sequence[int] = (0,),
    configuration: Configuration = PAPER,
    on_block: Callable[[Progress], None] | None = None,
    keeper: Keeper | None = None,
    blocks: Sequence[Block] = (),
) -> Sweep:
    """Train two-stage VaDE with every combination of settings from every seed, and rank the settings.

    The rank needs no labels: it falls with the mean over seeds of the validation ELBO at weight 1 of its KL
    terms and without balance, a lower bound of the log-likelihood of rows that no step was taken on, the same
    for every setting (the seed chooses them). They do choose the epoch, by the loss that each setting trains,
    so the number is a little too good; and their patients may have other visits in the training. The rank
    says which model explains the visits best, not which clusters are the most useful: look at their number,
    the smallest share and the agreement of the seeds too. Settings of which a lane failed come last.

    Args:
        x: rows, finite: numbers standardised, 0/1 columns as they are.
        over: values to try, by name of a field of `Hyperparameters`: `{"noise_variance": (0.1, 0.3)}`.
        seeds: seeds that each combination is trained from.
        configuration: gives the settings that are not tried. Every seed is a run of its own, however many
            runs it asks for.
        on_block: see `core.fit.fit`.
        keeper: see `core.fit.fit`.
        blocks: kinds of the columns, where the configuration has likelihoods by kind; see `cluster`.

    Returns:
        Among others a table with a row per combination and seed: `rank` from 1, `lane`, the settings tried,
        `seed`, `elbo`, `reconstruction` and `kl` (validation, nats per row; where inputs are hidden from the
        encoder, of what it sees), `epochs` (of both stages), `converged` (the fine-tuning), `finite`,
        `clusters` (those that hold rows), `smallest_share` (of them, percent of the rows) and `agreement`
        (mean adjusted Rand index with the other sound seeds of the setting; NaN if there is none). A lane
        that failed has 0 clusters, and NaN where nothing was measured.

    Raises:
        ValueError: a setting, a value or a seed that cannot be, or rows that are not finite.
    """
    matrix = ensemble.as_rows(x)
    configuration = replace(configuration, training=configuration.training.for_rows(len(matrix)))
    each = combinations(configuration.model, over)
    if problems := _unlike_a_list_of_different({"seeds": list(seeds)}):
        raise ValueError("; ".join(problems))
    configurations = [replace(configuration, model=one, n_runs=1) for one in each]
    settings = [one for one in each for _ in seeds]
    stack = lanes.stack([*seeds] * len(each), settings)
    most = {name: int(max(getattr(one, name) for one in each)) for name in ("latent_dim", "n_clusters")}
    largest = replace(configuration, model=configuration.model._replace(**most))
    architecture, rows = largest.architecture(matrix, blocks), jnp.asarray(matrix)
    found = fit.fit(
        rows, stack, architecture, configuration.training, configuration.mixture, on_block, keeper
    )
    params, how = found.finetuned.params, configuration.responsibilities
    every = Ensemble(params, stack.hyperparameters, architecture, None, 0, how)
    labels = ensemble.components(every, rows)

    if any(one.balance for one in each):  # what they were trained by is no bound to compare
        sizes = architecture, configuration.training
        best = lanes.validate(rows, params, stack, "fine-tuning", *sizes)
    else:
        kept = jnp.arange(len(settings)), found.finetuned.best_epoch
        best = jax.tree.map(lambda term: term[kept], found.finetuned.history.validation)
    finite = np.asarray(found.sound)
    shares = [100 * np.unique(one, return_counts=True)[1] / len(one) for one in labels]
    ends = [stage for stage in (found.pretrained, found.finetuned) if stage is not None]
    columns: dict[str, Any] = {"lane": np.arange(len(settings))}
    columns |= {name: [getattr(one, name) for one in settings] for name in over}
    columns |= {
        "seed": [*seeds] * len(each),
        "elbo": np.where(finite, best.elbo(), np.nan),
        "reconstruction": np.where(finite, best.reconstruction, np.nan),
        "kl": np.where(finite, best.reconstruction - best.elbo(), np.nan),
        "epochs": sum(np.asarray(stage.n_epochs) for stage in ends),
        "converged": np.asarray(found.finetuned.converged),
        "finite": finite,
        "clusters": np.where(finite, [len(one) for one in shares], 0),
        "smallest_share": np.where(finite, [one.min() for one in shares], np.nan),
        "agreement": _agreement(labels, finite, len(seeds)),
    }
    table = pd.DataFrame(columns)
    mean = table["elbo"].to_numpy().reshape(len(each), len(seeds)).mean(axis=1)  # NaN if any lane failed
    order = np.argsort(-mean, kind="stable")  # NaN last
    table.insert(0, "rank", np.repeat(np.argsort(order) + 1, len(seeds)))
    names = [
        ", ".join([*(f"{name} {getattr(one, name):g}" for name in over), f"seed {seed}"])
        for one in each
        for seed in seeds
    ]
    return Sweep(
        table.sort_values("rank", kind="stable", ignore_index=True),
        labels,
        found,
        stack,
        architecture,
        fit.failures(found, names),
        [one for one in configurations for _ in seeds],
        [*seeds] * len(each),
    )


def _agreement(
    labels: Int[np.ndarray, "S N"], finite: Bool[np.ndarray, " S"], n_seeds: int
) -> Float[np.ndarray, " S"]:
    """Return the mean adjusted Rand index of each lane with the other sound seeds of its setting."""
    means = np.full(len(labels), np.nan)
    for first in range(0, len(labels), n_seeds):
        sound = first + np.flatnonzero(finite[first : first + n_seeds])
        if len(sound) > 1:
            means[sound] = (stability.pairwise_ari(list(labels[sound])).sum(axis=1) - 1) / (len(sound) - 1)
    return means
