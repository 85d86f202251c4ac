"""How good the clusterings are: against the planted types, between seeds, and by what no label is needed for.

    .venv/bin/python benchmarks/quality.py --quick
    .venv/bin/python benchmarks/quality.py --cohorts 204 205 206 --seeds 20 --half-seeds 3 \
        --out benchmarks/results/quality.json
    .venv/bin/python benchmarks/quality.py --cohorts 204 --visits 20000 50000 1000000 --seeds 5 \
        --out benchmarks/results/quality_sizes.json

Simulated districts that nothing was chosen on, but for 201 to 203, where one choice had been made. A fifth of
the patients of each is kept aside: every method is fitted to the visits of the others and measured on those
of this fifth. A seed redraws weights, split, row order, noise and the starts of EM; methods share nothing
between seeds. With --half-seeds a method is also fitted twice, to disjoint halves of the patients, and the
two are compared.

With --out, what is measured is kept after every seed: the same command goes on after a stop.

Beside them stand gradient boosting that is shown the types of the patients it is fitted to, a ceiling, and a
mixture of families near to the right ones (normal, categorical, Bernoulli) on the raw variables, started at
the types and left to EM: what a likelihood without labels makes of the truth. What a method reaches of the
ceiling's ARI has an interval, by a bootstrap over the patients kept aside.
"""

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ceiling
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import report
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture

from jvade import clustering, ensemble, health
from jvade.analysis import comparison, concentration, stability
from jvade.analysis.indices import Scorer, draw_subset
from jvade.analysis.profiles import cross_rates
from jvade.clustering import PAPER, ROBUST, Configuration
from jvade.core import em, fit, gmm, lanes, model
from jvade.core.layout import take_lane
from jvade.core.settings import Architecture
from jvade.data.district import draw as district
from jvade.data.district.inputs import inputs
from jvade.data.matrix import fit_scaling, to_matrix
from jvade.data.variables import DIAGNOSES, LEVELS, OUTCOME, STUDY_INPUTS
from jvade.ensemble import Ensemble
from jvade.paper.stages.robust import blocks

N_CLUSTERS = 7
#: The method that all others are measured beside; the first to run.
CEILING = "supervised (ceiling)"
#: A cluster counts for the highest cross rate from this share of the visits on.
SIZABLE = 0.002
#: Draws of patients that the interval of an ARI beside the ceiling's is taken over.
N_BOOT = 200
#: From which responsibility on a row counts as sure of its cluster.
SURE = 0.8


class Cohort(NamedTuple):
    """A district: its visits, their columns as the networks see them, and whose visits are kept aside."""

    frame: pd.DataFrame
    x: np.ndarray
    test: np.ndarray

    @property
    def types(self) -> np.ndarray:
        """Planted type of each visit kept aside."""
        return self.frame["planted_type"].to_numpy()[self.test]

    @property
    def patients(self) -> np.ndarray:
        """Patient of each visit kept aside."""
        return self.frame["patient"].to_numpy()[self.test]


class Found(NamedTuple):
    """What a method makes of the visits kept aside.

    Args:
        labels: their clusters.
        sure: the responsibility of the cluster of each, of a consensus its support; None where there is none.
        elbo: validation bound, where there is one; where inputs are hidden from the encoder, of what it sees:
            to be compared within a method.
        bound: the ELBO of the visits kept aside, whole, nats a visit; of several runs that of the best.
        runs: trainings it took.
        failed: how many of them went non-finite.
    """

    labels: np.ndarray
    sure: np.ndarray | None = None
    elbo: float | None = None
    bound: float | None = None
    runs: int = 0
    failed: int = 0


def draw(n_visits: int, seed: int) -> Cohort:
    """Return a simulated district; the scaling is that of the visits that methods are fitted to."""
    patients = round(n_visits * 57 / 365)
    frame = pd.concat(
        [inputs(block) for block in district.blocks(n_visits, patients, seed)], ignore_index=True
    )
    frame = frame.dropna(subset=["cost"]).reset_index(drop=True)
    aside = np.random.default_rng(seed).random(patients + 1) < 0.2
    test = aside[np.asarray(frame["patient"])]
    return Cohort(frame, to_matrix(frame, fit_scaling(frame.loc[~test], STUDY_INPUTS)), test)


def kmeans(x: np.ndarray, new: np.ndarray, seed: int) -> Found:
    """Return the clusters of K-Means on the inputs."""
    labels = comparison.kmeans(x, N_CLUSTERS, seed)
    centers = np.stack([x[labels == k].mean(axis=0) for k in np.unique(labels)])
    return Found(np.argmin(((new[:, None] - centers) ** 2).sum(axis=2), axis=1))


def raw_mixture(x: np.ndarray, new: np.ndarray, seed: int) -> Found:
    """Return the clusters of scikit-learn's diagonal mixture on the inputs."""
    found = GaussianMixture(N_CLUSTERS, covariance_type="diag", reg_covar=1e-3, random_state=seed).fit(x)
    return most_likely(found.predict_proba(new))


def most_likely(chances: ArrayLike) -> Found:
    """Return the likeliest cluster of each row, and how sure of it its row of chances is."""
    each = np.asarray(chances)
    return Found(each.argmax(axis=1), each.max(axis=1))


def study(paper: Configuration, x: np.ndarray, new: np.ndarray, seeds: Sequence[int]) -> list[list[Found]]:
    """Return, for every seed, K-Means and GMM on the latents of a VAE, and VaDE: they share its training."""
    rows, others = jnp.asarray(x), jnp.asarray(new)
    sizes, stack = Architecture(x.shape[1]), lanes.stack(list(seeds), paper.model)
    result = fit.fit(rows, stack, sizes, paper.training, paper.mixture)
    assert result.pretrained is not None
    by_kmeans, by_mixture, by_vade = [], [], []
    every = Ensemble(result.finetuned.params, stack.hyperparameters, sizes, None, 0)
    for lane, seed in enumerate(seeds):
        vae = take_lane(result.pretrained.params, lane)
        latents, elsewhere = (
            np.asarray(model.assign(vae, part, sizes, paper.model.latent_dim, 1).latents)
            for part in (rows, others)
        )
        by_kmeans.append(kmeans(latents, elsewhere, seed))
        few = latents[draw_subset(len(latents), paper.mixture.n_rows, seed)]
        start = gmm.fit(jax.random.key(seed), jnp.asarray(few), [N_CLUSTERS], settings=paper.mixture)
        joint = em.log_joint(jnp.asarray(elsewhere), take_lane(start, 0).components)
        by_mixture.append(most_likely(softmax(joint, axis=1)))
        labels, sure = ensemble.place(every.alone(lane), new)
        elbo, failed = -float(result.finetuned.best_loss[lane]), not bool(result.sound[lane])
        bound = float(ensemble.bounds(every.alone(lane), new).mean())
        by_vade.append(Found(labels, sure, elbo, bound, 1, int(failed)))
    return [by_kmeans, by_mixture, by_vade]


def configured(configuration: Configuration, x: np.ndarray, new: np.ndarray, seed: int) -> Found:
    """Return the clusters of a configuration, and the mean of its runs' bounds."""
    found = clustering.cluster(x, N_CLUSTERS, seed, configuration, blocks=blocks(STUDY_INPUTS))
    elbo = -float(np.mean(np.asarray(found.fit.finetuned.best_loss)[found.sound]))
    runs = configuration.n_runs
    bound = float(ensemble.bounds(found.ensemble, new).mean())
    return Found(*ensemble.place(found.ensemble, new), elbo, bound, runs, runs - len(found.sound))


def supervised(cohort: Cohort) -> Found:
    """Return the types as a classifier names them that is shown those of the other patients."""
    names = [variable.name for variable in STUDY_INPUTS]
    x, types = cohort.frame[names].to_numpy(np.float32), cohort.frame["planted_type"].to_numpy()
    found = ceiling.classifier().fit(x[~cohort.test], types[~cohort.test])
    named = most_likely(found.predict_proba(x[cohort.test]))
    return named._replace(labels=found.classes_[named.labels])


def right_families(cohort: Cohort, n_iter: int = 300) -> Found:
    """Return the clusters of EM on the raw variables, started at the planted types."""
    frame = cohort.frame
    skewed = ("cost", "visits_this_year", "days_since_last_visit")
    normal = np.column_stack([frame["age"] / 20, *(np.log1p(frame[name]) for name in skewed)])
    known = ~np.isnan(normal)  # a first visit has no gap
    normal = np.nan_to_num(normal)
    flags = frame[["female", "hypertension", "diabetes", "crossed_before", "specialty"]].to_numpy(float)
    homes = [name for name in frame if name.startswith("subdistrict")]
    groups = [frame[list(g)].to_numpy(float) for g in ([v.name for v in LEVELS], _names(DIAGNOSES), homes)]
    groups = [np.column_stack([one, 1 - one.sum(axis=1)]) for one in groups]
    types = frame["planted_type"].to_numpy() - 1
    gamma = np.eye(N_CLUSTERS)[types[~cohort.test]]

    def joint(rows: np.ndarray, parameters: Any) -> np.ndarray:
        shares, means, variances, chances, tables = parameters
        total = np.log(shares) + flags[rows] @ np.log(chances).T + (1 - flags[rows]) @ np.log1p(-chances).T
        for d in range(normal.shape[1]):
            squares = (normal[rows, d, None] - means[:, d]) ** 2 / variances[:, d]
            total += known[rows, d, None] * -0.5 * (squares + np.log(2 * np.pi * variances[:, d]))
        for one, table in zip(groups, tables, strict=True):
            total += one[rows] @ np.log(table).T
        return total

    def maximise(rows: np.ndarray, gamma: np.ndarray) -> Any:
        sizes = gamma.sum(axis=0)[:, None] + 1e-9
        seen = gamma.T @ known[rows] + 1e-9
        means = gamma.T @ normal[rows] / seen
        variances = gamma.T @ normal[rows] ** 2 / seen - means**2 + 1e-2
        chances = np.clip(gamma.T @ flags[rows] / sizes, 1e-4, 1 - 1e-4)
        tables = [(gamma.T @ one[rows] + 0.1) / (sizes + 0.1 * one.shape[1]) for one in groups]
        return sizes[:, 0] / sizes.sum(), means, variances, chances, tables

    parameters = maximise(~cohort.test, gamma)
    for _ in range(n_iter - 1):
        parameters = maximise(~cohort.test, softmax(joint(~cohort.test, parameters), axis=1))
    return most_likely(softmax(joint(cohort.test, parameters), axis=1))


def _names(variables: Sequence[Any]) -> list[str]:
    return [variable.name for variable in variables]


def highest_cross_ratio(labels: np.ndarray, crossed: np.ndarray) -> float:
    """Return the highest cross rate of a cluster of `SIZABLE` or more, times the overall rate."""
    sizes = np.bincount(labels)
    rates = np.bincount(labels, weights=crossed) / np.maximum(sizes, 1)
    return float((rates[sizes >= SIZABLE * len(labels)] / crossed.mean()).max())


def beside_ceiling(
    labellings: Sequence[np.ndarray],
    ceiling: np.ndarray,
    types: np.ndarray,
    patients: np.ndarray,
    n_boot: int = N_BOOT,
) -> dict[str, float]:
    """Return the mean ARI of clusterings by that of the ceiling, and where 95 % of it lie.

    All are measured on the same patients, drawn anew with replacement (each counts as often as a Poisson
    number says), so the interval tells the chance in who was kept aside; not that in who was learned from.
    """
    _, patient = np.unique(patients, return_inverse=True)

    def ratio(times: np.ndarray) -> float:
        each = [
            stability.adjusted_rand(stability.overlaps(types, labels, counts=times[patient]))
            for labels in (ceiling, *labellings)
        ]
        return float(np.mean(each[1:]) / each[0])

    rng, n_patients = np.random.default_rng(0), patient.max() + 1
    drawn = [ratio(rng.poisson(1.0, n_patients)) for _ in range(n_boot)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"mean": ratio(np.ones(n_patients, int)), "low": float(low), "high": float(high)}


def best_f1(labels: np.ndarray, types: np.ndarray) -> dict[str, float]:
    """Return of each type the highest F1 that a cluster has with it: 1 where one holds it and nothing else.

    The ARI hardly sees a type of few visits; this does.
    """
    counts = pd.crosstab(types, labels)
    sizes = counts.sum(axis=1).to_numpy()[:, None] + counts.sum(axis=0).to_numpy()
    best = (2 * counts.to_numpy() / sizes).max(axis=1)
    return {f"f1_type_{one}": float(value) for one, value in zip(counts.index, best, strict=True)}


def measure(found: Found, cohort: Cohort, scorer: Scorer, rows: np.ndarray) -> dict[str, float]:
    """Return what one clustering is worth: with the planted types, by the outcome, and by itself."""
    crossed = cohort.frame[OUTCOME].to_numpy(float)[cohort.test]
    shares = np.bincount(found.labels) / len(found.labels)
    rates = cross_rates(found.labels, crossed)
    (indices,) = scorer.score(cohort.x[cohort.test][rows], [found.labels[rows]])
    values = {
        "ari": adjusted_rand_score(cohort.types, found.labels),
        "nmi": normalized_mutual_info_score(cohort.types, found.labels),
        "alive": health.alive(found.labels),
        "effective_clusters": health.effective(found.labels),
        "largest_share": shares.max(),
        "smallest_share": shares[shares > 0].min(),
        "gini": concentration.gini(concentration.lorenz(rates)),
        "highest_cross_ratio": highest_cross_ratio(found.labels, crossed),
        "elbo": np.nan if found.elbo is None else found.elbo,
        "elbo_aside": np.nan if found.bound is None else found.bound,
    }
    values |= best_f1(found.labels, cohort.types)
    if found.sure is not None:
        # A cluster is named after the type that most of its visits have.
        names = pd.crosstab(found.labels, cohort.types).idxmax(axis=1)
        right = names.loc[found.labels].to_numpy() == cohort.types
        sure = found.sure >= SURE
        values |= {"sure": sure.mean(), "sure_right": right[sure].mean() if sure.any() else np.nan}
    return {name: float(value) for name, value in (values | indices._asdict()).items()}


class Method(NamedTuple):
    """One method, or several that share a training.

    Args:
        names: of them.
        seeds: to find clusters from.
        at_once: how many seeds are lanes of one training.
        run: what each method finds from some seeds, in the order of `names`.
    """

    names: tuple[str, ...]
    seeds: Sequence[int]
    at_once: int
    run: Callable[[Sequence[int]], list[list[Found]]]


def methods(
    cohort: Cohort, seeds: Sequence[int], paper: Configuration, robust: Configuration
) -> list[Method]:
    """Return what to run, in the order of the table."""
    x, new = cohort.x[~cohort.test], cohort.x[cohort.test]
    alone: dict[str, tuple[Sequence[int], Callable[[int], Found]]] = {
        CEILING: ([0], lambda _: supervised(cohort)),
        "right families, EM from the types": ([0], lambda _: right_families(cohort)),
        "K-Means": (seeds, partial(kmeans, x, new)),
        "GMM": (seeds, partial(raw_mixture, x, new)),
        "VaDE, robust": (seeds, partial(configured, robust, x, new)),
    }
    each = [Method((name,), s, 1, lambda s, run=run: [[run(*s)]]) for name, (s, run) in alone.items()]
    names = "VAE + K-Means", "VAE + GMM", "VaDE, paper"
    return [*each, Method(names, seeds, len(seeds), lambda some: study(paper, x, new, some))]


def half(cohort: Cohort, configuration: Configuration, seed: int) -> float:
    """Return the agreement, on the visits kept aside, of models fitted to disjoint halves of the patients."""
    patient = cohort.frame["patient"].to_numpy()
    first = np.random.default_rng(seed).random(patient.max() + 1) < 0.5
    one, two = (
        configured(
            configuration, cohort.x[~cohort.test & these[patient]], cohort.x[cohort.test], 1000 * i + seed
        )
        for i, these in enumerate((first, ~first))
    )
    return float(adjusted_rand_score(one.labels, two.labels))


def summary(name: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation (ddof 1) of every measure, and how the seeds agree."""
    table = pd.DataFrame([line["measures"] for line in lines])
    mean, sd = (
        {str(key): None if np.isnan(value) else float(value) for key, value in column.items()}
        for column in (table.mean(), table.std(ddof=1))
    )
    ratios = table["highest_cross_ratio"].to_numpy()
    pairs = stability.agreements([np.array(line["labels"]) for line in lines])
    return {
        "method": name,
        "seeds": len(lines),
        "mean": mean,
        "sd": sd,
        "each": {
            str(name): values.tolist()
            for name, values in table.astype(object).where(table.notna(), None).items()
        },
        "alive_least": int(table["alive"].to_numpy().min()),
        "four_times": int((ratios >= 4).sum()),
        "agreement": {"mean": float(pairs.mean()), "least": float(pairs.min())} if len(pairs) else None,
        "runs": sum(line["runs"] for line in lines),
        "failed": sum(line["failed"] for line in lines),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Quality of the clusterings.")
    parser.add_argument("--quick", action="store_true", help="20,000 visits, two seeds, short runs: a check")
    parser.add_argument("--visits", type=int, nargs="+", default=[200_000], help="of a district; every size")
    parser.add_argument("--cohorts", type=int, nargs="+", default=[204])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--half-seeds", type=int, default=0, help="seeds of the disjoint halves")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    paper, robust, sizes, n_seeds = PAPER, ROBUST, options.visits, options.seeds
    if options.quick:
        sizes, n_seeds = [20_000], 2
        few = {"n_rows": 4_000, "n_init": 4, "n_continued": 1}
        paper, robust = (
            replace(
                one,
                training=replace(one.training, max_epochs=4),
                mixture=replace(one.mixture, **few),
                n_runs=n_runs,
            )
            for one, n_runs in ((PAPER, 1), (ROBUST, 3))
        )
    kept = report.Kept(options)
    for seed, n_visits in itertools.product(options.cohorts, sizes):
        cohort, scorer = draw(n_visits, seed), Scorer()
        rows = draw_subset(int(cohort.test.sum()), 10_000, seed)
        name = str(seed) if len(sizes) == 1 else f"{seed}, {n_visits:,} visits"
        one = kept.found.setdefault(name, {"methods": [], "seeds": {}, "halves": {}})
        done = {line["method"] for line in one["methods"]}
        for method in methods(cohort, range(1, n_seeds + 1), paper, robust):
            if done.issuperset(method.names):
                continue
            lines = [one["seeds"].setdefault(name, []) for name in method.names]
            while left := method.seeds[len(lines[0]) :]:
                for of_method, runs in zip(lines, method.run(left[: method.at_once]), strict=True):
                    for run in runs:
                        labels = {"labels": run.labels.tolist(), "runs": run.runs, "failed": run.failed}
                        of_method.append({"measures": measure(run, cohort, scorer, rows)} | labels)
                kept.write()
            for name in method.names:
                lines = one["seeds"].pop(name)
                labellings = [np.array(line["labels"]) for line in lines]
                if name == CEILING:
                    one["ceiling"] = lines[0]["labels"]
                ratio = beside_ceiling(labellings, np.array(one["ceiling"]), cohort.types, cohort.patients)
                one["methods"].append(summary(name, lines) | {"of_ceiling": ratio})
                print(one["methods"][-1], flush=True)
        for name, configuration in {"VaDE, robust": robust, "VaDE, paper": paper}.items():
            pairs = one["halves"].setdefault(name, [])
            while len(pairs) < options.half_seeds:
                pairs.append(half(cohort, configuration, len(pairs) + 1))
                kept.write()
            if pairs:
                print(name, pairs, flush=True)
    cohorts = {
        seed: {
            "methods": one["methods"],
            "halves": {name: pairs for name, pairs in one["halves"].items() if pairs},
        }
        for seed, one in kept.found.items()
    }
    report.write("benchmarks/quality.py", options, {"cohorts": cohorts}, options.out)
    kept.remove()


if __name__ == "__main__":
    main()
