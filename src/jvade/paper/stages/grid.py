"""Mixtures on the pretrained latents: the grid, the sensitivity to the latents, the number of clusters.

Sections 2.2, 2.4, 3.1 and 3.4; Figs 1 and 4, Table 3.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jvade.analysis import grid as analysis
from jvade.analysis.indices import Scorer, draw_subset
from jvade.core import em, fit, gmm
from jvade.core.em import Components, GmmFit
from jvade.core.epoch import named_key
from jvade.core.layout import take_lane
from jvade.data import published
from jvade.paper.settings import Search
from jvade.paper.stage import Outcome, Stage, Study
from jvade.paper.stages import training
from jvade.report.figures import grid as figures

#: Mixtures of up to so many clusters share a program: padding all to the largest would double the work.
BUCKETS = (15, 30)


def subset(study: Study, size: int) -> np.ndarray:
    """Return the rows that mixtures are fitted to, seeded."""
    key = named_key(jax.random.key(study.settings.seed), "grid rows")
    return np.asarray(fit.subset(key, study.outcome("cohort").values["n_visits"], size))


def mixtures(study: Study, z: np.ndarray, latent_dim: int, search: Search) -> dict[int, GmmFit]:
    """Fit a mixture of every number of clusters to latents.

    Args:
        study: the run.
        z: latents of some visits, padded with zeros so that all dimensions share a program.
        latent_dim: latents in use.
        search: which numbers, and how.
    """
    key = named_key(jax.random.key(study.settings.seed), "grid")
    found, low = {}, 1
    for high in (*BUCKETS, max(search.n_clusters)):
        sizes = [k for k in search.n_clusters if low <= k <= high]
        low = max(low, high + 1)
        if not sizes:
            continue
        fits = gmm.fit(
            key,
            jnp.asarray(z),
            sizes,
            latent_dim,
            search.em,
            max_clusters=min(high, max(search.n_clusters)),
            layout=study.settings.training.layout,
        )
        found |= {k: take_lane(fits, i) for i, k in enumerate(sizes)}
    return found


def width(latent_dim: int, search: Search) -> int:
    """Return how far latents are padded: few ones not so far that EM would expand its squares."""
    expanded = latent_dim >= em.EXPANDED_LATENTS
    return max(d for d in search.latent_dims if (d >= em.EXPANDED_LATENTS) == expanded)


def padded(z: np.ndarray, width: int) -> np.ndarray:
    """Return latents with zeros to their right."""
    return np.pad(z, ((0, 0), (0, width - z.shape[1])))


def assign(z: np.ndarray, fitted: GmmFit) -> np.ndarray:
    """Return the most likely component of each point, from 0."""
    joint = _log_joint(jnp.asarray(z), fitted.components, fitted.n_clusters)
    return np.asarray(jnp.argmax(joint, axis=-1))


_log_joint = jax.jit(em.log_joint)


def search(
    study: Study, wanted: Search, title: str
) -> tuple[pd.DataFrame, list[str], dict[int, dict[int, GmmFit]]]:
    """Fit and score mixtures of every size on the latents of every dimension.

    Returns:
        A row per pair: latent_dim, n_clusters, n_rows, bic, icl, lower_bound, n_iter, converged, the indices;
        what to know about the fits; and the fits by latents and clusters.
    """
    rows = subset(study, wanted.em.n_rows)
    few = draw_subset(len(rows), wanted.index_rows, study.settings.seed)
    scorer, lines, warnings = study.derived("scorer", Scorer), [], []
    latents = {d: padded(training.encode(study, d, rows), width(d, wanted)) for d in wanted.latent_dims}
    fits: dict[int, dict[int, GmmFit]] = {}
    for done, (d, z) in enumerate(latents.items()):
        study.terminal.progress(title, done, len(wanted.latent_dims), "latent dimensions")
        fits[d] = mixtures(study, z, d, wanted)
        labels = [assign(z[few], one) for one in fits[d].values()]
        for (k, one), indices in zip(fits[d].items(), scorer.score(z[few, :d], labels), strict=True):
            lines.append(
                {"latent_dim": d, "n_clusters": k, "n_rows": len(rows)}
                | {name: float(getattr(one, name)) for name in ("bic", "icl", "lower_bound")}
                | {"n_iter": int(one.n_iter), "converged": bool(one.converged)}
                | indices._asdict()
            )
        warnings += doubtful(d, fits[d], wanted.em.reg_covar)
    return pd.DataFrame(lines), warnings, fits


def doubtful(latent_dim: int, fits: dict[int, GmmFit], reg_covar: float) -> list[str]:
    """Return what needs a person's eye in the mixtures of a number of latents, a line a kind.

    EM that was still gaining is no such case here: its column in the table says so.
    """
    said = {
        k: [
            text
            for text in gmm.warnings(jax.tree.map(lambda leaf: leaf[None], one), reg_covar)
            if "still gaining" not in text
        ]
        for k, one in fits.items()
    }
    sizes = [k for k, texts in said.items() if texts]
    latents = "1 latent" if latent_dim == 1 else f"{latent_dim} latents"
    lines = []
    if sizes:
        lines.append(
            f"{latents}: {len(sizes)} of {len(fits)} mixtures, from {min(sizes)} clusters on, have clusters "
            "without rows or on rows that coincide in a latent, as rows do where the VAE does not use it"
        )
    falls = gmm.falls_short(list(fits), [float(one.lower_bound) for one in fits.values()])
    if falls:
        which = ", ".join(str(k) for _, k in falls)
        lines.append(
            f"{latents}: the mixtures of {which} clusters fit worse than with fewer, so their starts missed "
            "the best fit; allow more of them (n_init)"
        )
    return lines


def compute_grid(study: Study) -> Outcome:
    """Fit the grid, choose a pair, and refit the winner on all visits (section 2.2, stage 1)."""
    settings = study.settings
    dims = tuple(sorted({*settings.grid.latent_dims, settings.model.latent_dim}))
    wanted = Search(dims, settings.grid.clusters, settings.grid.index_rows, settings.grid.em)
    table, warnings, fits = search(study, wanted, "grid")
    winner = analysis.choose(table)
    d, k = int(winner.at["latent_dim"]), int(winner.at["n_clusters"])
    z = training.encode(study, d)
    start = Components(*(leaf[:k, ...] for leaf in fits[d][k].components))
    start = start._replace(means=start.means[:, :d], covariances=start.covariances[:, :d])
    whole = jax.jit(lambda z: em.fit(z, start, k, d, **wanted.em.stopping))(jnp.asarray(z))
    rows = draw_subset(len(z), settings.index_rows, settings.seed)
    (indices,) = study.derived("scorer", Scorer).score(z[rows], [assign(z[rows], whole)])
    values = {
        "rule": analysis.RULE,
        "latent_dim": d,
        "n_clusters": k,
        "all_visits": {"n_rows": len(z), "bic": float(whole.bic)} | indices._asdict(),
    }
    return Outcome({"fig1_grid": table}, values, warnings=tuple(warnings))


def compute_sensitivity(study: Study) -> Outcome:
    """Choose K for each number of latents, by BIC and by silhouette, and score both (Table 3)."""
    settings, wanted = study.settings, study.settings.sensitivity
    table, warnings, fits = search(study, wanted, "sensitivity")
    by = {
        "bic": analysis.best_by(table, "bic", False),
        "silhouette": analysis.best_by(table, "silhouette", True),
    }
    rows = draw_subset(study.outcome("cohort").values["n_visits"], settings.index_rows, settings.seed)
    scorer, lines = study.derived("scorer", Scorer), []
    for d in wanted.latent_dims:
        chosen = {
            name: int(best.loc[best["latent_dim"] == d, "n_clusters"].iloc[0])
            for name, best in by.items()
            if d in best["latent_dim"].tolist()
        }
        z = training.encode(study, d, rows)
        wide = padded(z, width(d, wanted))
        scores = scorer.score(z, [assign(wide, fits[d][k]) for k in chosen.values()])
        lines += [
            {"latent_dim": d, "chosen_by": name, "n_clusters": k} | indices._asdict()
            for (name, k), indices in zip(chosen.items(), scores, strict=True)
        ]
    theirs = published.load("table3_latent_dimension").set_index("latent_dim").add_suffix("_published")
    table3 = pd.DataFrame(lines).merge(theirs, on="latent_dim", how="left")
    return Outcome({"table3_sensitivity": table3, "table3_mixtures": table}, {}, warnings=tuple(warnings))


def compute_number(study: Study) -> Outcome:
    """Read BIC, ICL and the elbow off the grid, at the latents of the study's model (Fig 4)."""
    table = study.outcome("grid").tables["fig1_grid"]
    columns = ["n_clusters", "n_rows", "bic", "icl", "lower_bound", "converged"]
    ours = table["latent_dim"] == study.settings.model.latent_dim
    curve = table.loc[ours, columns].reset_index(drop=True)
    sizes = curve["n_clusters"].to_numpy()
    values = {
        "lowest_bic": int(sizes[np.nanargmin(curve["bic"])]),
        "lowest_icl": int(sizes[np.nanargmin(curve["icl"])]),
        "elbow": analysis.elbow(sizes, curve["bic"].to_numpy()),
    }
    values = {name: None if np.isnan(value) else value for name, value in values.items()}
    return Outcome({"fig4_number_of_clusters": curve}, values)


def draw_grid(study: Study, found: Outcome) -> Mapping[str, Figure]:
    """Draw a heat map per index, the chosen pair marked (Fig 1, stage 1)."""
    chosen = (found.values["latent_dim"], found.values["n_clusters"])
    return {"fig1_grid": figures.heat_maps(found.tables["fig1_grid"], chosen)}


def draw_sensitivity(study: Study, found: Outcome) -> Mapping[str, Figure]:
    """Draw the indices against the number of latents, the published beside (Table 3)."""
    return {"table3_sensitivity": figures.sensitivity(found.tables["table3_sensitivity"])}


def draw_number(study: Study, found: Outcome) -> Mapping[str, Figure]:
    """Draw BIC and ICL against the number of clusters (Fig 4)."""
    curve = found.tables["fig4_number_of_clusters"]
    return {"fig4_number_of_clusters": figures.criteria(curve, found.values["elbow"], published=7)}


GRID = Stage(
    "grid",
    "section 2.2, Fig 1",
    ("cohort", "pretraining"),
    ("seed", "grid", "index_rows", "model"),
    compute_grid,
    draw_grid,
)
SENSITIVITY = Stage(
    "sensitivity",
    "sections 2.4 and 3.1, Table 3",
    ("cohort", "pretraining"),
    ("seed", "sensitivity", "index_rows"),
    compute_sensitivity,
    draw_sensitivity,
)
NUMBER_OF_CLUSTERS = Stage(
    "number-of-clusters", "section 3.4, Fig 4", ("grid",), ("model",), compute_number, draw_number
)
