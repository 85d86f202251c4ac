"""The study, stage by stage: from visits to Table 5, Table 7 and Figures 3 to 5."""

import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jvade.analysis import comparison, indices, profiles
from jvade.analysis.comparison import Clustering
from jvade.analysis.profiles import Row
from jvade.core import epoch, fit, gmm, lanes
from jvade.core.fit import Fit
from jvade.core.lanes import Progress, Trained
from jvade.core.layout import take_lane
from jvade.core.settings import Architecture
from jvade.data import published
from jvade.data.district import tables
from jvade.data.engines import scratch
from jvade.data.features import read_visits
from jvade.data.mapping import read_mapping
from jvade.data.matrix import Scaling, fit_scaling, to_matrix
from jvade.data.variables import OUTCOME, Variable, VisitTable
from jvade.paper import manifest
from jvade.paper.settings import PaperSettings
from jvade.report.figures import clusters, grid, training
from jvade.report.folder import RunFolder, fingerprint
from jvade.report.terminal import Terminal

#: Rows that Table 7 has beside the inputs: an extra column, its group, and words for each of its values.
DESCRIBED = {
    "zone": (
        "residence",
        {
            "inner": "Lives in the inner zone",
            "middle": "Lives in the middle zone",
            "outer": "Lives in the outer zone",
        },
    ),
    "destination": (
        "destination",
        {
            "city_centre": "Crossing visits: to the city centre",
            "adjacent_suburb": "Crossing visits: to an adjacent suburb",
            "non_adjacent_suburb": "Crossing visits: to another suburb",
        },
    ),
}


class TrainingError(RuntimeError):
    """A lane went non-finite; the message says where and what to try."""


class Cohort(NamedTuple):
    """The visits of a run and what the networks see of them."""

    table: VisitTable
    scaling: Scaling
    matrix: np.ndarray  # float32 (N, D)
    source: dict[str, Any]

    @property
    def patients(self) -> np.ndarray | None:
        """Patient of each visit, None if the file does not say."""
        return self.table.frame["patient"].to_numpy() if "patient" in self.table.frame else None


class Model(NamedTuple):
    """The trained lane, its latents before fine-tuning, and its labels after."""

    fit: Fit
    pretrained_latents: np.ndarray  # (N, L)
    latents: np.ndarray  # (N, L)
    labels: np.ndarray  # (N,), cluster of the mixture, from 0


def load_cohort(settings: PaperSettings) -> Cohort:
    """Read or simulate the visits and scale them (section 2.1, Tables 1 and 2)."""
    if settings.visits is not None and settings.mapping is not None:
        table = read_visits(settings.visits, read_mapping(settings.mapping), settings=settings.tables)
        source = {"visits": fingerprint(settings.visits), "mapping": fingerprint(settings.mapping)}
    else:
        with scratch(settings.tables) as folder:
            district = folder / "district"
            written = tables.write(district, settings.n_visits, seed=settings.seed)
            table = read_visits(
                district / "visits", read_mapping(district / "mapping.toml"), settings=settings.tables
            )
        counts = {name: int(value) for name, value in written._asdict().items()}
        source = {"simulated": counts | {"seed": settings.seed}}
    scaling = fit_scaling(table.frame, table.inputs)
    return Cohort(table, scaling, to_matrix(table.frame, scaling), source)


def train(cohort: Cohort, settings: PaperSettings, terminal: Terminal) -> Model:
    """Pretrain, start the mixture, fine-tune, and place every visit (sections 2.2, 2.3 and 3.4)."""
    lane = lanes.stack([settings.seed], settings.model)
    architecture = Architecture(
        cohort.matrix.shape[1], settings.model.latent_dim, settings.model.n_clusters, settings.widths
    )
    x = jnp.asarray(cohort.matrix)

    def show(progress: Progress) -> None:
        words = f"epochs, validation loss {np.min(progress.validation_loss):.3f}"
        terminal.progress(progress.stage, progress.epoch, progress.max_epochs, words)

    result = fit.fit(x, lane, architecture, settings.training, settings.mixture, show)
    failures = fit.failures(result)
    if failures:
        raise TrainingError("; ".join(failures))
    before, after = (
        fit.assign(take_lane(stage.params, 0), x, take_lane(lane, 0), architecture)
        for stage in (result.pretrained, result.finetuned)
    )
    labels = np.asarray(jnp.argmax(after.responsibilities, axis=-1))
    return Model(result, np.asarray(before.latents), np.asarray(after.latents), labels)


def history(trained: Trained, kl_weight: float) -> pd.DataFrame:
    """Return one row per epoch: losses and the terms of the ELBO, nats per visit (Figs 3 and 5)."""
    n = int(trained.n_epochs[0])
    columns: dict[str, Any] = {"epoch": np.arange(1, n + 1)}
    for name, terms in (("train", trained.history.train), ("validation", trained.history.validation)):
        one = jax.tree.map(lambda leaf: leaf[:n], take_lane(terms, 0))
        columns[f"{name}_loss"] = np.asarray(-one.elbo(kl_weight))
        columns |= {f"{name}_{term}": np.asarray(values) for term, values in one._asdict().items()}
    return pd.DataFrame(columns)


def bic_curve(latents: np.ndarray, settings: PaperSettings) -> tuple[pd.DataFrame, list[str]]:
    """Fit mixtures of every size to a random subset of the pretrained latents (section 3.4, Fig 4).

    Returns:
        One row per number of clusters, and what to know about the fits.
    """
    key = epoch.named_key(jax.random.key(settings.seed), "bic")
    rows = np.asarray(fit.subset(epoch.named_key(key, "rows"), len(latents), settings.mixture.n_rows))
    low, high = settings.bic_clusters
    fits = gmm.fit(
        key,
        jnp.asarray(latents[rows]),
        list(range(low, high + 1)),
        n_init=settings.mixture.n_init,
        short_iter=settings.mixture.short_iter,
        max_iter=settings.mixture.max_iter,
        tol=settings.mixture.tol,
        reg_covar=settings.mixture.reg_covar,
        layout=settings.training.layout,
    )
    fields = ("n_clusters", "bic", "icl", "lower_bound", "n_iter", "converged", "finite")
    table = pd.DataFrame({name: np.asarray(getattr(fits, name)) for name in fields})
    table.insert(1, "n_rows", len(rows))
    return table, gmm.warnings(fits, settings.mixture.reg_covar)


def compare(
    cohort: Cohort, model: Model, settings: PaperSettings
) -> tuple[pd.DataFrame, dict[str, Clustering]]:
    """Set K-Means, VAE + K-Means and two-stage VaDE side by side (section 3.3, Table 5)."""
    raw = comparison.kmeans(cohort.matrix, settings.kmeans_clusters, settings.seed)
    latent = comparison.kmeans(model.pretrained_latents, settings.vae_kmeans_clusters, settings.seed)
    crossed = cohort.table.outcome
    methods = {
        name: Clustering(points, comparison.number_by_cross_rate(labels, crossed))
        for name, points, labels in (
            ("K-Means", cohort.matrix, raw),
            ("VAE + K-Means", model.pretrained_latents, latent),
            ("two-stage VaDE", model.latents, model.labels),
        )
    }
    subset = indices.draw_subset(len(cohort.matrix), settings.index_rows, settings.seed)
    return comparison.compare(methods, cohort.matrix, subset), methods


def profile(cohort: Cohort, labels: np.ndarray, settings: PaperSettings) -> pd.DataFrame:
    """Return the profile of every cluster in original units (section 3.6, Table 7)."""
    frame = cohort.table.frame
    outcome = Variable(OUTCOME, "Crossed district", "outcome", "binary")
    rows = [
        Row(v.group, v.name, v.unit or "percent", 100.0 if v.kind == "binary" else 1.0)
        for v in (outcome, *cohort.table.inputs)
        if not v.name.startswith("subdistrict_")
    ]
    order = list(dict.fromkeys(["outcome", "personal", "visit", "institution", *(row.group for row in rows)]))
    rows.sort(key=lambda row: order.index(row.group))  # Table 7 keeps its groups together
    columns = {row.variable: frame[row.variable] for row in rows}
    for extra, (group, values) in DESCRIBED.items():
        if extra in cohort.table.extras:
            counted = pd.Series(True, frame.index) if extra == "zone" else frame[OUTCOME].astype(bool)
            unit = "percent" if extra == "zone" else "percent of cross-district visits"
            columns |= {value: (frame[extra] == value).where(counted).astype(float) for value in values}
            rows += [Row(group, value, unit, 100.0) for value in values]
    return profiles.profile(pd.DataFrame(columns), rows, labels, cohort.patients, settings.min_patients)


def published_cross_rates() -> pd.DataFrame:
    """Return the study's shares and cross rates in the shape of `profiles.cross_rates`."""
    table = published.load("table7_profiles").set_index("variable")
    columns = [f"cluster{i}" for i in range(1, 8)] + ["overall"]
    shares, rates = table.loc[["share_of_visits", OUTCOME], columns].to_numpy(float)
    return pd.DataFrame(
        {"share": shares, "cross_rate": rates, "ratio": rates / rates[-1]},
        index=pd.Index([*range(1, 8), "overall"], dtype=object, name="cluster"),
    )


def beside_published(ours: pd.DataFrame, theirs: pd.DataFrame, on: str, columns: list[str]) -> pd.DataFrame:
    """Return our table with the published columns to its right, blank where the study has no such row."""
    return ours.merge(theirs[[on, *columns]].set_index(on).add_suffix("_published"), on=on, how="left")


def run(settings: PaperSettings, terminal: Terminal) -> RunFolder:
    """Run every stage and write tables, figures and manifest; see `PaperSettings`.

    Raises:
        InputError: the visits or the mapping cannot be used; nothing was written.
        TrainingError: the training went non-finite; nothing was written.
    """
    began, clock = datetime.now(UTC), time.perf_counter()
    with terminal.step("visits"):
        cohort = load_cohort(settings)
    for line in cohort.table.account.lines():
        terminal.say(f"  {line}")
    settings.check_size(cohort.table.account.kept)
    with terminal.step("training"):
        model = train(cohort, settings, terminal)
    with terminal.step("number of clusters"):
        bic, bic_warnings = bic_curve(model.pretrained_latents, settings)
    with terminal.step("comparison"):
        table5, methods = compare(cohort, model, settings)
    with terminal.step("profiles"):
        labels, crossed = methods["two-stage VaDE"].labels, cohort.table.outcome
        rates = {
            name: profiles.cross_rates(method.labels, crossed, cohort.patients, settings.min_patients)
            for name, method in methods.items()
        }
        table7 = profile(cohort, labels, settings)

    warnings = warn(model, settings, labels) + [f"number of clusters: {text}" for text in bic_warnings]
    for text in warnings:
        terminal.say(f"  warning: {text}", "yellow")
    table5 = beside_published(
        table5, published.load("table5_comparison"), "method", ["n_clusters", "silhouette", "davies_bouldin"]
    )
    theirs = published_cross_rates()
    best = int(bic["n_clusters"].to_numpy()[np.nanargmin(bic["bic"].to_numpy())])
    with terminal.step("tables and figures"):
        folder = RunFolder(settings.folder)
        write(folder, cohort, model, settings, bic, table5, rates, table7, theirs)
    overall_known = bool(rates["two-stage VaDE"].loc[["overall"], "share"].notna().all())
    folder.finish(
        {
            "jvade": manifest.versions()["jvade"],
            "began": began.isoformat(timespec="seconds"),
            "seconds": {name: round(value, 2) for name, value in terminal.seconds.items()}
            | {"all": round(time.perf_counter() - clock, 2)},
            "peak_memory_gb": round(manifest.peak_memory_gb(), 2),
            "device": manifest.device(),
            "versions": manifest.versions(),
            "seed": settings.seed,
            "settings": manifest.plain(settings),
            "input": cohort.source,
            "account": manifest.plain(cohort.table.account),
            # Means and deviations are as telling as the tables: blank where those are.
            "scaling": cohort.scaling.to_dict() if overall_known else None,
            "epochs": {
                "pretraining": int(model.fit.pretrained.n_epochs[0]),
                "fine-tuning": int(model.fit.finetuned.n_epochs[0]),
            },
            "lowest_bic_at": best,
            "warnings": warnings,
        }
    )
    summarise(terminal, settings, cohort, table5, rates["two-stage VaDE"], theirs, best, bic)
    terminal.say(
        f"\nEverything is in {settings.folder} ({len(folder.written)} files); "
        f"{time.perf_counter() - clock:.0f} s, {manifest.peak_memory_gb():.1f} GB at the most."
    )
    return folder


def warn(model: Model, settings: PaperSettings, labels: np.ndarray) -> list[str]:
    """Return what a reader of the results must know about the clustering before trusting it."""
    warnings = [
        f"start of VaDE: {text}" for text in gmm.warnings(model.fit.mixture_start, settings.mixture.reg_covar)
    ]
    alive = len(np.unique(labels))
    if alive < settings.model.n_clusters:
        warnings.append(
            f"{settings.model.n_clusters - alive} of {settings.model.n_clusters} clusters of the two-stage "
            "VaDE died: no visit is in them; compare several seeds, or ask for fewer clusters"
        )
    for name, stage in (("pretraining", model.fit.pretrained), ("fine-tuning", model.fit.finetuned)):
        if not bool(stage.converged[0]):
            warnings.append(
                f"{name} ended at --training.max-epochs, before patience ran out; more epochs may improve it"
            )
    return warnings


def write(
    folder: RunFolder,
    cohort: Cohort,
    model: Model,
    settings: PaperSettings,
    bic: pd.DataFrame,
    table5: pd.DataFrame,
    rates: dict[str, pd.DataFrame],
    table7: pd.DataFrame,
    theirs: pd.DataFrame,
) -> None:
    """Write the tables as CSV and the figures as PNG and SVG."""
    for name, title, stage in (
        ("fig3_pretraining", "VAE pretraining", model.fit.pretrained),
        ("fig5_finetuning", "VaDE fine-tuning", model.fit.finetuned),
    ):
        losses = history(stage, settings.model.kl_weight)
        folder.table(name, losses)
        kept = 1 + int(np.argmin(losses["validation_loss"].to_numpy()))
        folder.figure(name, training.training_curves(losses, title, kept))
    folder.table("fig4_number_of_clusters", bic)
    folder.figure("fig4_number_of_clusters", grid.bic_curve(bic, published=7))
    folder.table("table5_comparison", table5)
    by_method = pd.concat(rates, names=["method"]).reset_index()
    folder.table("table5_cross_rates", by_method)
    ours = rates["two-stage VaDE"]
    simulated = settings.visits is None
    folder.figure(
        "cross_rates",
        clusters.cross_rates(ours, theirs if simulated else None, "care outside the home area"),
    )
    numbers = [name for name in theirs.index if name != "overall"]
    folder.table(
        "table7_profiles",
        beside_published(
            table7,
            published.load("table7_profiles"),
            "variable",
            [*(f"cluster{i}" for i in numbers), "overall"],
        ),
    )
    labels = {v.name: v.label for v in cohort.table.inputs} | {OUTCOME: "Care outside the home area"}
    for _, words in DESCRIBED.values():
        labels |= words
    folder.figure("table7_profiles", clusters.profile_heatmap(table7, labels))


def summarise(
    terminal: Terminal,
    settings: PaperSettings,
    cohort: Cohort,
    table5: pd.DataFrame,
    rates: pd.DataFrame,
    theirs: pd.DataFrame,
    best: int,
    bic: pd.DataFrame,
) -> None:
    """Print what was found, the published figures beside ours."""
    terminal.say()
    what = "a simulated district" if settings.visits is None else settings.visits.name
    terminal.say(
        f"{what}: {cohort.table.account.kept:,} visits, {len(cohort.table.inputs)} inputs. "
        "Published figures are of other data; indices of different spaces are not comparable.",
        "italic",
    )
    terminal.table(
        "Methods, each scored in its own space; published in brackets (Table 5)",
        pd.DataFrame(
            {
                "method": table5["method"],
                "clusters": _both(table5, "n_clusters", ".0f"),
                "silhouette": _both(table5, "silhouette", ".3f"),
                "Davies-Bouldin": _both(table5, "davies_bouldin", ".3f"),
                "Calinski-Harabasz": [_text(value, ",.0f") for value in table5["calinski_harabasz"]],
                "silhouette on the inputs": [_text(value, ".3f") for value in table5["silhouette_common"]],
            }
        ),
    )
    low, high = bic["n_clusters"].min(), bic["n_clusters"].max()
    terminal.say(f"Number of clusters: BIC is lowest at {best} of {low} to {high} (published: 7).")
    both = rates.join(theirs.add_suffix("_published"), how="left")
    terminal.table(
        "Cross rate of each cluster of the two-stage VaDE; published in brackets (Table 7)",
        pd.DataFrame(
            {
                "cluster": both.index,
                "% of visits": _both(both, "share", ".1f"),
                "cross rate, %": _both(both, "cross_rate", ".1f"),
                "times the overall rate": _both(both, "ratio", ".1f"),
            }
        ),
    )


def _both(table: pd.DataFrame, name: str, form: str) -> list[str]:
    """Return a column of ours as text, the published one in brackets."""
    cells = table[[name, f"{name}_published"]].to_numpy(float)
    return [f"{_text(ours, form)} ({_text(theirs, form)})" for ours, theirs in cells]


def _text(value: float, form: str) -> str:
    """Return a number as text, a blank as "-"."""
    return "-" if np.isnan(value) else format(value, form)
