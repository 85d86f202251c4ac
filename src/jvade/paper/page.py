"""The results page: every table and figure of the study in its order, ours beside the published."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from jvade import manifest
from jvade.analysis.consensus import WAYS
from jvade.data import published
from jvade.paper import claims
from jvade.paper.stage import Study
from jvade.paper.stages import profiles, readings
from jvade.paper.stages.comparison import VADE, published_cross_rates, rates_of
from jvade.report import document
from jvade.report.document import HEADS, number, table

INDICES = {"silhouette": ".3f", "davies_bouldin": ".3f", "calinski_harabasz": ",.0f"}


def write(study: Study, current: list[str], drawn: Mapping[str, list[str]]) -> None:
    """Write the page as Markdown and HTML, of the stages that are finished.

    Args:
        study: the run.
        current: finished stages.
        drawn: names of their figures.
    """
    figures = {name for names in drawn.values() for name in names}

    def show(name: str, words: str) -> str:
        return document.figure(name, words) if name in figures else ""

    parts = [head(study), agreement(study, current)]
    parts += [section(study, show) for name, section in SECTIONS.items() if name in current]
    parts += [times(study, current), warned(study, current)]
    text = document.page(parts)
    study.folder.text("paper.md", text)
    study.folder.text("paper.html", document.to_html(text, f"jvade: {what(study)}"))


Show = Callable[[str, str], str]


def what(study: Study) -> str:
    """Return the visits of a run in a few words."""
    visits = study.settings.visits
    return "a simulated district" if visits is None else visits.name


def head(study: Study) -> str:
    """Return title and data."""
    values, versions = study.outcome("cohort").values, manifest.versions()
    patients = "" if values["n_patients"] is None else f" of {values['n_patients']:,} patients"
    return document.page(
        [
            f"# Two-stage VaDE on {what(study)}",
            (
                f"{values['n_visits']:,} visits{patients}, {len(values['inputs'])} inputs,"
                f" {values['crossed']:.1f} % of the visits outside the home area. Preset"
                f" `{study.settings.preset}`, seed {study.settings.seed}, jvade {versions['jvade']}, jax"
                f" {versions['jax']}, Python {versions['python']}, {manifest.device()['platform']}."
            ),
            (
                "*Published numbers are those of the study (3.65 million visits of a district of Shanghai,"
                " 2024): other visits, printed for comparison. They are not reproduced by these visits, and"
                " nothing here is tuned to reach them. The outcome (care outside the home area) is never seen"
                " by the clustering.*"
            ),
        ]
    )


def agreement(study: Study, current: list[str]) -> str:
    """Return what agrees with the study and what does not."""
    found = claims.hold(study, current)
    if not found:
        return ""
    agree = sum(one.agrees is True for one in found)
    return document.page(
        [
            "## What agrees with the study, and what does not",
            f"{agree} of {len(found)} findings have the same shape here.",
            table(claims.as_table(found)),
        ]
    )


def cohort(study: Study, _: Show) -> str:
    """Section 2.1, Tables 1 and 2."""
    tables = study.outcome("cohort").tables
    variables = tables["table2_variables"].drop(columns=["variable"])
    names = {"label": "variable", "missing_percent": "missing, %"}
    return document.page(
        [
            "## Data (section 2.1, Tables 1 and 2)",
            "Published: about 3.65 million visits, 1.8 % without a cost, which are dropped.",
            table(tables["table1_rows"], {"n": ",.0f", "percent": ".2f"}),
            "z-scores are taken over the visits kept; a missing number becomes 0, the mean.",
            table(variables.rename(columns=names), {"mean": ",.2f", "sd": ",.2f", "missing, %": ".1f"}),
        ]
    )


def grid(study: Study, show: Show) -> str:
    """Section 2.2, Fig 1."""
    values = study.outcome("grid").values
    whole = values["all_visits"]
    return document.page(
        [
            "## Grid over latents and clusters (section 2.2, Fig 1, stage 1)",
            (
                f"Rule: {values['rule']}. It chooses **{values['latent_dim']} latents and"
                f" {values['n_clusters']} clusters** (the study: 2 and 7). Refitted on all"
                f" {whole['n_rows']:,} visits this pair has silhouette {number(whole['silhouette'], '.3f')},"
                f" Davies-Bouldin {number(whole['davies_bouldin'], '.3f')} and Calinski-Harabasz"
                f" {number(whole['calinski_harabasz'], ',.0f')}. The stages below keep the study's pair,"
                f" {study.settings.model.latent_dim} and {study.settings.model.n_clusters}, whatever the grid"
                " says."
            ),
            show(
                "fig1_grid",
                "Indices of mixtures on the pretrained latents; darker is better, the chosen pair framed",
            ),
        ]
    )


def sensitivity(study: Study, show: Show) -> str:
    """Section 3.1, Table 3."""
    found = study.outcome("sensitivity").tables["table3_sensitivity"]
    shown = found.loc[:, ["latent_dim", "chosen_by", "n_clusters", *INDICES]].copy()
    shown["chosen_by"] = shown["chosen_by"].replace({"bic": "BIC"})
    for name in ("n_clusters", *INDICES):
        shown[f"{HEADS.get(name, 'K')}, published"] = found[f"{name}_published"]
    forms = INDICES | {f"{HEADS[name]}, published": form for name, form in INDICES.items()}
    forms |= {"K, published": ".0f"}
    return document.page(
        [
            "## Number of latents (section 3.1, Table 3)",
            (
                "For each number of latents the number of clusters is chosen by BIC and, beside it, by"
                " silhouette: the study does not say how it chose. Indices in each model's own space are not"
                " comparable between rows of different latents; the study compares them."
            ),
            table(
                shown.rename(
                    columns=HEADS | {"latent_dim": "latents", "chosen_by": "K chosen by", "n_clusters": "K"}
                ),
                forms | {HEADS[n]: f for n, f in INDICES.items()},
            ),
            show("table3_sensitivity", "Indices against the number of latents"),
        ]
    )


def pretraining(study: Study, show: Show) -> str:
    """Section 3.4, Fig 3."""
    values = study.outcome("pretraining").values
    most = study.settings.training.of_stage(pretraining=True).max_epochs
    each = ", ".join(f"{d}: {n}" for d, n in zip(values["latent_dims"], values["epochs"], strict=True))
    return document.page(
        [
            "## Training (section 3.4)",
            "### Pretraining (Fig 3)",
            (
                f"Published: converged after about 10 epochs. Epochs run here, by latents: {each} (at most "
                f"{most}). An epoch of fewer visits has fewer steps."
            ),
            show("fig3_pretraining", "Loss of the VAE pretraining"),
            show("fig3_pretraining_terms", "Terms of the ELBO in the pretraining"),
        ]
    )


def number_of_clusters(study: Study, show: Show) -> str:
    """Section 3.4, Fig 4."""
    return document.page(
        [
            "### Number of clusters (Fig 4)",
            "Published: the minimum of BIC is at 7. ICL also counts how far clusters overlap.",
            show("fig4_number_of_clusters", "BIC and ICL against the number of clusters"),
        ]
    )


def fine_tuning(study: Study, show: Show) -> str:
    """Section 3.4, Fig 5."""
    values = study.outcome("fine-tuning").values
    return document.page(
        [
            "### Fine-tuning (Fig 5)",
            (
                f"{values['epochs']} epochs; {values['alive']} of {study.settings.model.n_clusters} clusters"
                " have visits."
            ),
            show("fig5_finetuning", "Loss of the VaDE fine-tuning"),
            show("fig5_finetuning_terms", "Terms of the ELBO in the fine-tuning"),
        ]
    )


def latents(study: Study, show: Show) -> str:
    """Section 3.2, Table 4, Fig 2."""
    found = study.outcome("latents")
    shown = found.tables["table4_correlations"]
    names = [name for name in shown if name.startswith("z") and not name.endswith("_shown")]
    strong = shown.dropna(subset=[f"{name}_shown" for name in names], how="all")
    labels = profiles.words(study)
    largest = strong.assign(
        variable=[labels.get(name, name) for name in strong["variable"]],
        **{name: strong[f"{name}_shown"] for name in names},
    ).loc[:, ["variable", *names]]
    matched = ", ".join(
        (
            f"published z{i} is {'minus ' if sign < 0 else ''}our z{ours}"
            if ours
            else f"published z{i} has no match"
        )
        for i, (ours, sign) in enumerate(zip(found.values["order"], found.values["signs"], strict=True), 1)
    )
    beside = found.tables["table4_beside_published"].dropna(subset=["ours", "published"], how="all")
    base = ", ".join(f"{value:.2f}" for value in found.values["base"])
    return document.page(
        [
            "## Meaning of the latents (section 3.2, Table 4, Fig 2)",
            (
                f"Pearson's r of the posterior means with the inputs. Blank below {found.values['threshold']}"
                " in size: our rule, the study leaves cells blank without one (its smallest printed r is"
                " 0.379)."
            ),
            table(largest, dict.fromkeys(names, ".2f")),
            f"Sign and order of latents are arbitrary. Matched to the study: {matched}.",
            table(beside.drop(columns="shown"), {"ours": ".2f", "published": ".2f"}),
            (
                "The study contradicts itself on z2: its Table 4 gives +0.81 with the number of visits, its"
                " reading of Fig 2 says that a high z2 means few visits."
            ),
            (
                "Traversals: one latent moves over -3 to 3, the others stay at their mean over all visits"
                f" ({base})."
            ),
            show("fig2_traversal", "Decoded inputs against each latent, standardised"),
            show("fig2_traversal_units", "The same in original units"),
            show("latent_map", "Clusters on the plane of the latents"),
            show("latent_measures", "Age, cost, visits and crossing on the same plane"),
        ]
    )


def comparison(study: Study, show: Show) -> str:
    """Section 3.3, Table 5."""
    found = study.outcome("comparison")
    compared = found.tables["table5_comparison"]

    def cells(name: str, form: str) -> list[str]:
        sd = compared[f"{name}_sd"]
        return [
            number(v, form) + ("" if np.isnan(s) else f" ± {format(s, form)}")
            for v, s in zip(compared[name], sd, strict=True)
        ]

    own = pd.DataFrame(
        {"method": compared["method"], "K": [f"{k}" for k in compared["n_clusters"]]}
        | {HEADS[name]: cells(name, form) for name, form in INDICES.items()}
        | {
            "K, published": compared["n_clusters_published"],
            "silhouette, published": compared["silhouette_published"],
            "Davies-Bouldin, published": compared["davies_bouldin_published"],
        }
    )
    common = pd.DataFrame(
        {"method": compared["method"]}
        | {HEADS[name]: cells(f"{name}_common", form) for name, form in INDICES.items()}
    )
    crossing = compared.loc[:, ["method", "gini", "visits_above_overall", "crossing_above_overall"]].rename(
        columns={
            "gini": "Gini",
            "visits_above_overall": "visits in clusters above the overall rate, %",
            "crossing_above_overall": "crossing visits in them, %",
        }
    )
    planted = ""
    if "ari_planted" in compared:
        planted = "The simulated district knows the type of each visit. Agreement with it:\n\n" + table(
            compared.loc[:, ["method", "ari_planted", "nmi_planted"]].rename(
                columns={"ari_planted": "ARI", "nmi_planted": "NMI"}
            ),
            {"ARI": ".3f", "NMI": ".3f"},
        )
    settings = study.settings
    on = (
        f"on {settings.index_rows:,} random visits, mean ± standard deviation over {settings.index_subsets}"
        " such subsets"
        if settings.index_rows < study.outcome("cohort").values["n_visits"]
        else "on all visits"
    )
    return document.page(
        [
            "## Methods (section 3.3, Table 5)",
            (
                f"The same visits for all. Indices {on}, each method in its own space, as in the study: these"
                " cannot be compared between methods. That of robust VaDE is the inputs: each of its runs has"
                " latents of its own."
            ),
            table(
                own,
                {"silhouette, published": ".3f", "Davies-Bouldin, published": ".3f", "K, published": ".0f"},
            ),
            "In one common space, the standardised inputs, they can:",
            table(common),
            "Cross rate of every cluster, %, from the highest; in the last rows as published:",
            table(rates(found.tables["table5_cross_rates"])),
            "How concentrated crossing is:",
            table(crossing, {"Gini": ".3f"} | dict.fromkeys(crossing.columns[2:], ".1f")),
            show(
                "table5_lorenz", "Share of the crossing visits in the clusters with the highest cross rates"
            ),
            show("cross_rates", "Cross rate of each cluster of the two-stage VaDE"),
            planted,
        ]
    )


def robust(study: Study, _: Show) -> str:
    """Beyond the study: the consensus of runs behind the last row of Table 5."""
    found, settings = study.outcome("robust"), study.settings.robust
    runs = found.tables["robust_runs"].rename(
        columns={
            "clusters": "clusters with visits",
            "used_latents": "latents in use",
            "gap": "validation less training loss, nats",
            "converged": "patience ran out",
        }
    )
    values = found.values
    agreement = (
        "" if values["agreement"] is None else f" Two runs agree at a mean ARI of {values['agreement']:.2f}."
    )
    likelihood = {
        "gaussian": "all inputs Gaussian",
        "by-kind": "numbers Gaussian, 0/1 inputs Bernoulli, the codes of one variable under a softmax",
    }[settings.likelihood]
    others = ", full covariances" if settings.covariance_type == "full" else ""
    others += f", joined by {WAYS[values['linkage']]} linkage" if values["linkage"] else ""
    training = settings.training
    hidden = f"{100 * training.input_dropout:.0f} %"
    wide = ", ".join(map(str, settings.widths))
    first, then = (training.of_stage(pretraining=one).max_epochs for one in (True, False))
    size = "" if training.epoch_batches is None else f", each of {training.epoch_batches} batches at most"
    long = f"trained for {first} and then {then} epochs at most{size}"
    return document.page(
        [
            "## Robust VaDE (beyond the study)",
            (
                f"What {values['runs']} of {settings.n_runs} runs with {settings.model.latent_dim} latents,"
                f" {values['clusters_of_a_run']} clusters and networks of {wide} hidden units each agree on,"
                f" {long}, {hidden} of the inputs hidden from the encoder in the training,"
                f" {likelihood}{others}.{agreement} About"
                f" {100 * values['doubtful']:.0f} % of the visits have a support below a half: most runs have"
                " them elsewhere."
            ),
            table(runs, {"overlap": ".2f", "validation less training loss, nats": ".2f"}),
        ]
    )


def rates(by_method: pd.DataFrame) -> pd.DataFrame:
    """Return the cross rates of all methods side by side, the published below."""
    lines = {}
    for method in by_method["method"].unique():
        one = rates_of(by_method, method)
        lines[method] = [number(rate, ".1f") for rate in one.drop(index="overall")["cross_rate"]]
    theirs = published.load("table5_comparison").dropna(subset=["cross_rate_percent_by_cluster"])
    for method, text in theirs[["method", "cross_rate_percent_by_cluster"]].to_numpy().tolist():
        lines[f"{method}, published"] = [f"{x:.1f}" for x in sorted(map(float, text.split()), reverse=True)]
    width = max(map(len, lines.values()))
    return pd.DataFrame(
        [[name, *cells, *[""] * (width - len(cells))] for name, cells in lines.items()],
        columns=pd.Index(["method", *(str(i + 1) for i in range(width))]),
    )


def stability(study: Study, show: Show) -> str:
    """Section 3.5, Table 6."""
    found = study.outcome("stability")
    values, shown = found.values, found.tables["table6_stability"].drop(columns="n_runs")
    heads = HEADS | {f"{name}_published": f"{HEADS[name]}, published" for name in INDICES}
    ari = (
        ""
        if values["ari_mean"] is None
        else (
            f"The mean ARI of two runs is {values['ari_mean']:.2f}, the least {values['ari_least']:.2f}. With"
            f" clusters matched to those of seed {values['reference']} (largest overlap),"
            f" {values['changed']:.1f} % of the visits are not in the same cluster in all runs."
        )
    )
    return document.page(
        [
            "## Stability (section 3.5, Table 6)",
            (
                "The same model from other seeds. CV: standard deviation (ddof 0) over mean; the study calls"
                " below 0.3 stable."
            ),
            table(shown.rename(columns=heads), {heads[name]: ".3f" for name in heads}),
            (
                "How far that is from the published numbers (Table 5: of its two-stage VaDE), beside how far"
                " a run is from the others: standard deviation over the seeds (ddof 1)."
            ),
            table(
                found.tables["table6_distance"].replace({"index": heads}),
                dict.fromkeys(("published", "ours", "sd", "distance"), ".3f"),
            ),
            "What the published table leaves out: whether the runs find the same clusters. " + ari,
            table(
                found.tables["table6_runs"].rename(columns=lambda name: name.replace("_", " ")),
                {
                    "smallest share": ".2f",
                    "highest cross rate": ".1f",
                    "times overall": ".1f",
                    "validation loss": ".3f",
                },
            ),
            show("table6_agreement", "Agreement of each pair of runs, adjusted Rand index"),
            show("table6_spread", "Means of the matched clusters over the runs"),
        ]
    )


def profile(study: Study, show: Show) -> str:
    """Section 3.6, Table 7."""
    found = study.outcome("profiles")
    labels, full = profiles.words(study), found.tables["table7_profiles"]
    shown = profiles.shown(full, study.settings.show_all)
    columns = [name for name in shown if name.startswith("cluster")]
    theirs = published.load("table7_profiles")
    overall = dict(zip(zip(theirs["variable"], theirs["unit"], strict=True), theirs["overall"], strict=True))
    named = list(zip(shown["variable"], shown["unit"], strict=True))
    printed = pd.DataFrame(
        {
            "group": shown["group"].where(shown["group"] != shown["group"].shift(), ""),
            "variable": [
                f"{labels.get(name, name)}, {'%' if unit.startswith('percent') else unit}"
                for name, unit in named
            ],
        }
        | {name.removeprefix("cluster"): shown[name] for name in columns}
        | {
            "all": shown["overall"],
            "all, published": [overall.get((name, unit), np.nan) for name, unit in named],
            "CV": shown["cv"],
        }
    )
    forms = {name.removeprefix("cluster"): ",.1f" for name in columns}
    forms |= {"all": ",.1f", "all, published": ",.1f", "CV": ".2f"}
    differences = found.tables["table7_differences"]
    several = found.values["patients_in_several"]
    span = (
        ""
        if several is None
        else (
            f" {several:.1f} % of the {found.values['patients']:,} patients have visits in more than one"
            " cluster."
        )
    )
    strength = found.values.get("cramers_v_residence")
    lives = (
        ""
        if strength is None
        else (
            f"Cluster and sub-district: Cramér's V {strength:.3f} (0: none, 1: complete); the study says that"
            " no type is concentrated in one sub-district (section 4.1.2). Percent by sub-district:"
            " `residence.csv`."
        )
    )
    sizes = found.tables["table7_sizes"].rename(
        columns={"share": "% of visits", "patients_elsewhere": "% of them elsewhere too"}
    )
    return document.page(
        [
            "## Profiles of the clusters (section 3.6, Table 7)",
            (
                "Original units; clusters by falling cross rate. CV: standard deviation over mean of the"
                f" clusters. Shown: the rows of the study, and others with a CV of {found.values['shown_cv']}"
                " or more (`--show-all` for all). 95 % intervals by bootstrap over patients"
                f" ({study.settings.n_boot} replicates): `table7_intervals.csv`."
            ),
            table(printed, forms),
            show("table7_profiles", "Profiles as a heat map"),
            "Visits and patients." + span,
            table(
                sizes,
                {
                    "visits": ",.0f",
                    "% of visits": ".2f",
                    "patients": ",.0f",
                    "% of them elsewhere too": ".1f",
                },
            ),
            lives,
            "### Beside the published clusters",
            (
                "Each cluster with the published one whose profile is nearest: mean absolute difference in"
                " standard deviations of the published clusters; a match of other visits, not the same"
                " cluster."
            ),
            table(found.tables["table7_matching"], {"cluster": ".0f", "published": ".0f", "distance": ".2f"}),
            table(beside(differences, labels), {}),
        ]
    )


def beside(differences: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Return the differences as a wide table: ours, the published in brackets."""
    if differences.empty:
        return pd.DataFrame({"variable": []})
    text = differences.assign(
        cell=[
            f"{number(ours, ',.1f')} ({number(theirs, ',.1f')})"
            for ours, theirs in differences[["ours", "published"]].to_numpy()
        ],
        pair=[
            f"{a:.0f} (study: {b:.0f})"
            for a, b in differences[["cluster", "published_cluster"]].to_numpy(float)
        ],
        variable=[labels.get(name, name) for name in differences["variable"]],
    )
    order = list(dict.fromkeys(text["variable"]))
    wide = text.pivot_table(index="variable", columns="pair", values="cell", aggfunc="first", sort=False)
    return wide.loc[order].reset_index()


def reading(study: Study, show: Show) -> str:
    """What the study leaves open."""
    found = study.outcome("readings")
    values, theirs = found.values, readings.published_indices()
    shown = found.tables["readings"].rename(
        columns=HEADS
        | {
            "noise_variance": "noise variance",
            "highest_cross_rate": "highest cross rate",
            "times_overall": "times overall",
            "distance_table7": "distance from Table 7",
            "ari_planted": "ARI with planted types",
        }
    )
    forms = {HEADS[name]: form for name, form in INDICES.items()}
    forms |= {"highest cross rate": ".1f", "times overall": ".1f", "distance from Table 7": ".2f"}
    forms |= {"ARI with planted types": ".3f", "clusters": ".0f"}
    ours = number(values["noise_variance"])
    meaning = "\n".join(f"- *{name}*: {words}" for name, words in values["inputs"].items())
    return document.page(
        [
            "## What the study leaves open",
            (
                f"Each reading of the inputs with each noise variance of the decoder (ours: {ours}), trained"
                f" on {values['n_rows']:,} visits. Published: silhouette {theirs['silhouette']:.3f},"
                f" Davies-Bouldin {theirs['davies_bouldin']:.3f}, Calinski-Harabasz"
                f" {theirs['calinski_harabasz']:,.0f}, highest cross rate 4.7 times the overall one. Nothing"
                " is chosen by this table."
            ),
            meaning,
            table(shown, forms),
            show("readings", "Where each reading lands"),
            (
                "The size of the subset that the indices are taken on: Calinski-Harabasz grows with it, the"
                " others do not."
            ),
            table(
                found.tables["readings_index_rows"].rename(columns=HEADS | {"index_rows": "visits"}),
                {HEADS[name]: form for name, form in INDICES.items()} | {"visits": ",.0f"},
            ),
        ]
    )


def times(study: Study, current: list[str]) -> str:
    """Return what each stage took."""
    records: list[dict[str, Any]] = [study.record(name) or {} for name in current]
    lines = pd.DataFrame(
        {
            "stage": current,
            "seconds": [one["seconds"] for one in records],
            "peak memory so far, GB": [one["peak_memory_gb"] for one in records],
        }
    )
    device = manifest.device()
    return document.page(
        [
            "## Time",
            (
                f"{lines['seconds'].sum():,.0f} s for all stages, compilation included, on {device['cpus']}"
                f" CPU cores ({device['platform']})."
            ),
            table(lines, {"seconds": ",.1f", "peak memory so far, GB": ".1f"}),
        ]
    )


def warned(study: Study, current: list[str]) -> str:
    """Return the warnings of all stages and the limits of the page."""
    lines = [f"- {name}: {text}" for name in current for text in study.outcome(name).warnings]
    least = study.settings.min_patients
    return document.page(
        [
            "## Limits",
            (
                f"- Numbers with fewer than {least} patients behind them are blank, and a hexagon of a map"
                f" has at least {least}. That is not yet a full disclosure control."
            ),
            "- A high silhouette is no proof of a good clustering: it rises when clusters die.",
            "- Groups of visits are described; nothing here is for decisions about a person.",
            "## Warnings of this run" if lines else "",
            "\n".join(lines),
        ]
    )


SECTIONS: dict[str, Callable[[Study, Show], str]] = {
    "cohort": cohort,
    "grid": grid,
    "sensitivity": sensitivity,
    "latents": latents,
    "comparison": comparison,
    "robust": robust,
    "pretraining": pretraining,
    "number-of-clusters": number_of_clusters,
    "fine-tuning": fine_tuning,
    "stability": stability,
    "profiles": profile,
    "readings": reading,
}


def summarise(study: Study, current: list[str]) -> None:
    """Print the heart of what was found."""
    say = study.terminal.say
    say()
    if "comparison" in current:
        found = study.outcome("comparison")
        compared, theirs = found.tables["table5_comparison"], published_cross_rates()
        study.terminal.table(
            "Methods, each scored in its own space; published in brackets (Table 5)",
            pd.DataFrame(
                {
                    "method": compared["method"],
                    "clusters": _both(compared, "n_clusters", ".0f"),
                    "silhouette": _both(compared, "silhouette", ".3f"),
                    "Davies-Bouldin": _both(compared, "davies_bouldin", ".3f"),
                    "silhouette on the inputs": [number(v, ".3f") for v in compared["silhouette_common"]],
                }
            ),
        )
        both = rates_of(found.tables["table5_cross_rates"], VADE).join(
            theirs.add_suffix("_published"), how="left"
        )
        study.terminal.table(
            "Cross rate of each cluster of the two-stage VaDE; published in brackets (Table 7)",
            pd.DataFrame(
                {
                    "cluster": both.index.astype(str),
                    "% of visits": _both(both, "share", ".1f"),
                    "cross rate, %": _both(both, "cross_rate", ".1f"),
                    "times the overall rate": _both(both, "ratio", ".1f"),
                }
            ),
        )
    for one in claims.hold(study, current):
        sign = {True: "agrees ", False: "differs", None: "open   "}[one.agrees]
        say(f"{sign}  {one.part}: {one.published}", "green" if one.agrees else "yellow")


def _both(table: pd.DataFrame, name: str, form: str) -> list[str]:
    """Return a column of ours as text, the published one in brackets."""
    cells = table[[name, f"{name}_published"]].to_numpy(float)
    return [f"{number(ours, form)} ({number(theirs, form)})" for ours, theirs in cells]
