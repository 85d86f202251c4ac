"""How far a clustering can be trusted, by what needs no labels, and what to change."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jvade import ensemble
from jvade.analysis import stability
from jvade.clustering import Clustering
from jvade.core import likelihoods
from jvade.core.model import Posterior
from jvade.ensemble import Rows

#: Share of the rows below which a cluster is called dead.
ALIVE = 0.001
#: Share of the rows from which on a cluster is nearly all there is.
NEARLY_ALL = 0.9
#: Nats about a row that a latent must tell to count as used.
USED = 0.05
#: Mean of 1 - the highest responsibility from which on the components of a single run overlap too much: a row
#: is then as likely elsewhere as in its own.
OVERLAP = 0.5
#: Mean adjusted Rand index of two runs below which their consensus may be doubtful too: where two agreed at
#: about a half, consensuses of twelve agreed at 0.77 to 0.93, those of 24 once, at 0.96 (docs/method.md).
AGREEMENT = 0.5
#: Nats per row by which the loss of rows held out may pass that of the rows trained on, and by how many of
#: its standard errors: of a few hundred rows, chance makes some harder than the others.
GAP = 0.1
GAP_ERRORS = 3.0


class Health(NamedTuple):
    """A short report on a clustering.

    Args:
        clusters: how many hold a thousandth of the rows or more.
        effective_clusters: exp of the entropy of the shares: K where all have the same.
        smallest_share: of the clusters that hold rows, in [0, 1].
        agreement: mean adjusted Rand index of two runs, with the clusters they have; NaN for one run.
        doubtful: share of the rows whose support is below a half: of a consensus, most runs disagree.
        runs: a row per sound run: `run` (from 1), `clusters` (as above), `overlap` (mean of 1 - the highest
            responsibility: 0 where components lie apart), `used_latents`, `nats` (list, of each latent: how
            much it tells about a row), `gap` (validation less training loss at the kept epoch, nats per row)
            and `converged`.
        warnings: what a person should know, and what to change.
    """

    clusters: int
    effective_clusters: float
    smallest_share: float
    agreement: float
    doubtful: float
    runs: pd.DataFrame
    warnings: list[str]

    @property
    def lines(self) -> list[str]:
        """What it says beside its warnings, for a person to read."""

        def between(name: str, form: str = ".2f") -> str:
            low, high = self.runs[name].min(), self.runs[name].max()
            one, other = format(low, form), format(high, form)
            return one if one == other else f"{one} to {other}"

        n_latents = len(self.runs["nats"].iloc[0])
        n_runs, use = (
            ("the run has", "uses") if len(self.runs) == 1 else (f"{len(self.runs)} runs have", "use")
        )
        return [
            f"effective number of clusters {self.effective_clusters:.1f} of {self.clusters}, the smallest"
            f" {100 * self.smallest_share:.1f} % of the rows",
            f"{n_runs} {between('clusters', '.0f')} clusters and {use} {between('used_latents', '.0f')} of"
            f" {n_latents} latents; components overlap by {between('overlap')}; the loss of rows held out"
            f" is above that of the others by {between('gap')} nats",
        ]


def alive(labels: Int[np.ndarray, " N"]) -> int:
    """Return how many clusters hold a thousandth of the rows or more."""
    return int((np.bincount(labels) / len(labels) >= ALIVE).sum())


def effective(labels: Int[np.ndarray, " N"]) -> float:
    """Return exp of the entropy of the clusters' shares: K where all have the same."""
    shares = np.bincount(labels) / len(labels)
    some = shares[shares > 0]
    return float(np.exp(-(some * np.log(some)).sum()))


def nats(posterior: Posterior) -> Float[np.ndarray, " L"]:
    """Return how much each latent tells about a row, nats.

    The mean of KL(q(z|x) || q(z)), with for q(z) the normal of its mean and variance: at least the mutual
    information of row and latent, 0 for one that does not depend on the row.
    """
    variances = np.exp(posterior.log_variances)
    total = variances.mean(axis=0) + np.var(posterior.means, axis=0)
    # A masked latent has log-variance 0 and mean 0: it tells nothing.
    return 0.5 * (np.log(total) - np.mean(posterior.log_variances, axis=0))


def examine(clustering: Clustering, x: Rows, n_rows: int = 20_000) -> Health:
    """Return how far a clustering can be trusted.

    Args:
        clustering: of `clustering.cluster`.
        x: the rows it was made of.
        n_rows: how many of them the latents and components are looked at on.
    """
    sizes = np.bincount(clustering.labels)
    rows = np.asarray(x)
    few = ensemble.as_rows(rows[np.linspace(0, len(rows) - 1, min(n_rows, len(rows))).astype(int)])
    runs = pd.DataFrame([_run(clustering, place, few) for place in range(len(clustering.sound))])
    pairs = stability.agreements(list(clustering.runs))
    found = Health(
        alive(clustering.labels),
        effective(clustering.labels),
        float(sizes[sizes > 0].min() / len(clustering.labels)),
        float(pairs.mean()) if len(pairs) else float("nan"),
        float(np.mean(clustering.support < 0.5)),
        runs,
        [],
    )
    large = runs["gap"].to_numpy(float).mean() > GAP
    error = _gap_error(clustering, few, rows) if large else 0.0  # where there is something to ask
    return found._replace(warnings=_warnings(clustering, found, error))


def _run(clustering: Clustering, place: int, x: np.ndarray) -> dict[str, object]:
    _, responsibilities = ensemble.place(clustering.ensemble.alone(place), x)
    lane, finetuned = clustering.sound[place], clustering.fit.finetuned
    kl_weight = float(np.asarray(clustering.lanes.hyperparameters.kl_weight)[lane])
    told = nats(ensemble.encode(clustering.ensemble, x, place))
    kept = lane, int(finetuned.best_epoch[lane])
    train, validation = (
        -float(jax.tree.map(lambda term: term[kept], terms).elbo(kl_weight)) for terms in finetuned.history
    )
    return {
        "run": lane + 1,
        "clusters": alive(clustering.runs[place]),
        "overlap": float(1 - responsibilities.mean()),
        "used_latents": int((told >= USED).sum()),
        "nats": told.tolist(),
        "gap": validation - train,
        "converged": bool(finetuned.converged[lane]),
    }


def _gap_error(clustering: Clustering, few: np.ndarray, rows: np.ndarray) -> float:
    """Return the standard error of the loss of the rows that score an epoch, by its spread over some."""
    _, n_held_out = clustering.training.epoch_sizes(len(rows))
    architecture = clustering.ensemble.architecture
    _, settings = clustering.ensemble.run(clustering.ensemble.best)
    weights = None
    if balance := float(settings.balance):  # the losses are so weighted
        noise = float(settings.noise_variance)
        weights = np.asarray(likelihoods.balanced(jnp.asarray(rows), architecture.all_blocks, noise, balance))
    return float(np.std(ensemble.bounds(clustering.ensemble, few, weights)) / np.sqrt(n_held_out))


def _warnings(clustering: Clustering, found: Health, gap_error: float) -> list[str]:
    lines = list(clustering.failures)
    asked = clustering.n_clusters
    single = clustering.ensemble.agreed is None
    if found.clusters < asked:
        what = "the others died in the fine-tuning" if single else "the runs tell no more apart"
        remedy = "ask for fewer, or take the robust configuration" if single else "ask for fewer clusters"
        lines.append(f"{found.clusters} of {asked} clusters hold a thousandth of the rows: {what}; {remedy}")
    if single:
        lines.append("this is one run: another seed may end elsewhere; compare several, or use more runs")
    elif len(clustering.sound) == 1:
        lines.append("one run is left, which is no consensus; see to what made the others fail")
    elif found.agreement < AGREEMENT:
        remedy = "" if clustering.ensemble.architecture.blocks else "try likelihood by-kind, "
        lines.append(
            f"two runs agree at a mean ARI of {found.agreement:.2f} only, so support says less than it seems "
            f"to; {remedy}leave out inputs that tell nothing of what you look for, or give more rows"
        )
    if single and found.runs["overlap"].iloc[0] >= OVERLAP:
        highest = 1 - found.runs["overlap"].iloc[0]
        lines.append(
            f"components overlap: the highest responsibility of a row is {highest:.2f} on average; ask for"
            " fewer clusters, or for several runs, whose consensus is taken"
        )
    largest = float(np.bincount(clustering.labels).max() / len(clustering.labels))
    if asked > 1 and largest >= NEARLY_ALL:
        lines.append(
            f"one cluster holds {100 * largest:.0f} % of the rows, so agreement and indices say little of the"
            " others; leave out inputs that tell nothing of what you look for, or ask for more clusters"
        )
    n_latents = len(found.runs["nats"].iloc[0])
    few = found.runs["used_latents"].to_numpy(float)
    if few.all() and few.mean() < n_latents / 2:
        lines.append(
            f"{few.mean():.1f} of {n_latents} latents depend on the row, mean over the runs: the others have"
            " collapsed; take fewer latents, or lower the KL weight"
        )
    unused = [run for run, n in zip(found.runs["run"], found.runs["used_latents"], strict=True) if n == 0]
    if unused:
        gaussian = any(one.likelihood == "gaussian" for one in clustering.ensemble.architecture.all_blocks)
        lines.append(
            f"run {', '.join(map(str, unused))}: no latent depends on the row, so its clusters mean nothing; "
            f"lower {'the noise variance or ' * gaussian}the KL weight"
        )
    apart = found.runs["gap"].to_numpy(float)
    # Every run holds out rows of its own: their mean gap has least of chance. Where inputs are hidden,
    # losses spread more than those of whole rows; how much, the runs tell.
    spread = max(gap_error, apart.std(ddof=1)) if len(apart) > 1 else gap_error
    if apart.mean() > max(GAP, GAP_ERRORS * spread / np.sqrt(len(apart))):
        lines.append(
            f"rows held out are explained {apart.mean():.2f} nats worse than those trained on: the networks "
            "learn rows by heart; use more rows, smaller widths or a larger weight decay"
        )
    n = int((~found.runs["converged"].to_numpy(bool)).sum())
    if n and single:  # of a consensus, the epochs are chosen: the longer, the fewer clusters (docs/method.md)
        lines.append("it ended at training.max_epochs; more lower the loss, and may cost clusters")
    if len(clustering.bics) > 1 and asked == max(clustering.bics):
        lines.append(f"the largest number of clusters to choose from, {asked}, has the best BIC: offer more")
    return lines
