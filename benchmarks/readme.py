"""Write the tables of `README.md` here and of pages under `docs/` from the files under `results/`.

    .venv/bin/python benchmarks/readme.py

Each stands between its two marks, `<!-- NAME -->` and `<!-- end of NAME -->`.
"""

import json
import math
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from jvade.analysis.consensus import WAYS
from jvade.report.document import HEADS, table

HERE = Path(__file__).parent


def seconds(one: dict[str, float]) -> str:
    """Return a median with least and most, if there are several."""
    digits = 2 if one["median"] < 100 else 0
    if one["least"] == one["most"]:
        return f"{one['median']:,.{digits}f}"
    median, least, most = (f"{one[name]:,.{digits}f}" for name in ("median", "least", "most"))
    return f"{median} ({least} to {most})"


def asked(
    trained: dict[str, Any],
    spent: dict[str, Any],
    em: dict[str, Any],
    grown: dict[str, Any],
    full: dict[str, Any],
) -> str:
    """Return what was asked, what is reached, and what would be, were a step nothing but its products.

    The last is what is reached by the share of the products in the profile of a step. The profiler takes some
    time for every program, and products are few of them: it is a little too high.

    Args:
        trained: of `throughput.py`.
        spent: of `step.py`.
        em: of `em.py`.
        grown: of `growth.py`.
        full: of `stages.py`, the full preset.
    """
    medians = {
        (one["stage"], one["lanes"], one["program"]): one["seconds"]["median"] for one in trained["results"]
    }
    tuned = [name for name in trained["options"]["programs"] if name.startswith("tuned")]
    bare = [name for name in tuned if "compiled" not in name]
    rows: list[dict[str, str]] = []

    def times(stage: str, lanes: int, names: Sequence[str]) -> float:
        """Return how much longer the fastest of some programs takes than ours."""
        known = [medians[stage, lanes, name] for name in names if (stage, lanes, name) in medians]
        return min(known) / medians[stage, lanes, "jvade"]

    def without_the_rest(stage: str, lanes: int) -> float:
        """Return how much faster ours would be."""
        name = "the study on two devices" if lanes == 1 else f"{lanes} lanes of the study"
        step = spent["microseconds"][f"{name}, {stage}"]
        return step["in all"]["median"] / step["products"]["median"]

    def add(what: str, bar: str, reached: str, holds: bool, aside: str = "", most: str = "") -> None:
        text = f"**{reached}**" if holds else reached
        rows.append({"what": what, "asked": bar, "reached": text + aside, "by its products alone": most})

    for what, lanes, names, beside, bars in (
        ("one lane against tuned PyTorch", 1, tuned, bare, (4.5, 4)),
        ("one lane against idiomatic PyTorch", 1, ["idiomatic"], [], (12, 12)),
        ("35 lanes against tuned PyTorch, one after the other", 35, tuned, bare, (5.5, 5.5)),
        ("35 lanes against stacked PyTorch", 35, ["stacked"], [], (3, 3)),
    ):
        for stage, bar in zip(("pretraining", "fine-tuning"), bars, strict=True):
            found, aside = times(stage, lanes, names), ""
            if beside:
                aside = f" ({times(stage, lanes, beside):.1f})"
            most = f"{found * without_the_rest(stage, lanes):.1f}"
            add(f"{what}, {stage}", f"{bar:g} times", f"{found:.1f}", found >= bar, aside, most)
    for one in trained["results"]:
        lanes, share = one["lanes"], one["share_of_matrix_product"]
        if one["program"] == "jvade" and one["stage"] == "pretraining" and lanes in (1, 35):
            what = f"share of the matrix product in the pretraining, {lanes} lane{'s' * (lanes > 1)}"
            most = f"{share * without_the_rest('pretraining', lanes):.2f}"
            add(what, "0.5", f"{share:.2f}", share >= 0.5, most=most)
    fast = em["times_as_fast"]
    add("EM over K = 2 to 30 against scikit-learn", "5 times", f"{fast:.1f}", fast >= 5)
    sizes = [one["seconds"]["median"] for one in grown["growth"]["rows"]]
    twice = [later / before for before, later in pairwise(sizes)]
    what = "time at twice, four and eight times the rows, each by the half"
    add(what, "at most 2.1 times", ", ".join(f"{one:.2f}" for one in twice), max(twice) <= 2.1)
    stages_of_it = sum(one["median"] for name, one in full["seconds"].items() if name != "this run")
    minutes = max(stages_of_it, full["seconds"]["this run"]["median"]) / 60  # it may have been stopped
    add("the full preset, time", "at most 30 min", f"{minutes:.0f}", minutes <= 30)
    memory = full["peak_memory_gb"]["median"]
    add("the full preset, memory", "at most 6 GB", f"{memory:.1f}", memory <= 6)
    rows += [{"what": what, "asked": bar} for what, bar in ON_A_GPU.items()]
    return table(pd.DataFrame(rows).fillna(""))


def warming(one: dict[str, Any]) -> float:
    """Return the seconds that the first call of a program took longer than its others; 0 if it did not."""
    return max(0.0, one["first_call_seconds"] - one["seconds"]["median"])


def throughput(found: dict[str, Any]) -> str:
    """Return a table of every program."""
    ours = {
        (one["stage"], one["lanes"]): one["seconds"]["median"]
        for one in found["results"]
        if one["program"] == "jvade"
    }
    rows = [
        {
            "stage": one["stage"],
            "lanes": one["lanes"],
            "program": one["program"],
            "epochs": one["epochs"],
            "seconds (least to most)": seconds(one["seconds"]),
            "times ours": one["seconds"]["median"] / ours[one["stage"], one["lanes"]],
            "million rows x lanes a second": one["rows_x_lanes_per_second"] / 1e6,
            "share of the matrix product": one["share_of_matrix_product"] or math.nan,
            "compilation and warming up, s": warming(one),
            "peak memory, GB": one["peak_memory_gb"],
            "loss, mean ± sd of the lanes of 2 latents": "{:.2f} ± {:.2f}".format(*one["loss"])
            if one["loss"]
            else "its own",
        }
        for one in found["results"]
    ]
    forms: dict[str, str] = dict.fromkeys(
        ("times ours", "compilation and warming up, s", "peak memory, GB"), ".1f"
    )
    forms |= dict.fromkeys(("million rows x lanes a second", "share of the matrix product"), ".2f")
    rate = found["matrix_product_gflops"]
    worst = {kind: max(one[kind] for one in found["agreement"].values()) for kind in ("float64", "float32")}
    steps = [value for one in found["agreement"].values() for value in one.get("after steps", {}).values()]
    said = f" Losses after steps of each differ by {max(steps):.0e} at the most." if steps else ""
    tuned: dict[tuple[str, int], float] = {}
    for one in found["results"]:
        if one["program"].startswith("tuned"):
            key = one["stage"], one["lanes"]
            tuned[key] = max(one["share_of_matrix_product"], tuned.get(key, 0.0))
    said += (
        f" The fastest of the tuned programs reach {min(tuned.values()):.2f} to {max(tuned.values()):.2f} of"
        " the product (0.09 was asked, lest a straw man be raced)."
    )
    return (
        f"Float32 matrix product in the same run: {rate['median']:.0f} GFLOP/s ({rate['least']:.0f} to "
        f"{rate['most']:.0f}). Largest relative difference of loss and gradients between PyTorch's model "
        f"and ours, before anything was timed: {worst['float64']:.0e} in double, "
        f"{worst['float32']:.0e} in single precision.{said}\n\n{table(pd.DataFrame(rows), forms)}"
    )


def losses(found: dict[str, Any]) -> str:
    """Return a line for each stage."""
    options = found["options"]
    rows = [
        {
            "stage": stage,
            "ours, mean ± sd": "{:.3f} ± {:.3f}".format(*found[stage]["ours"]),
            "tuned PyTorch": "{:.3f} ± {:.3f}".format(*found[stage]["theirs"]),
            "level of the test": found[stage]["level"],
            "difference, seed by seed (95 %)": "{:.3f} ({:.3f} to {:.3f})".format(
                *found[stage]["difference"]
            ),
        }
        for stage in ("pretraining", "fine-tuning")
    ]
    return (
        f"{options['seeds']} seeds, {options['epochs']} epochs, {options['visits']:,} visits, 2 latents.\n\n"
        f"{table(pd.DataFrame(rows), {'level of the test': '.2f'})}"
    )


def em(found: dict[str, Any]) -> str:
    """Return both sides, and by how much they differ."""
    options, clusters = found["options"], found["options"]["clusters"]
    rows = [{"program": name, "seconds": seconds(one)} for name, one in found["seconds"].items()]
    return (
        f"{len(clusters)} numbers of clusters from {min(clusters)} to {max(clusters)}, "
        f"{options['restarts']} restarts of each, {options['rows']:,} x {options['latents']}: "
        f"**{found['times_as_fast']:.1f} times as fast**; compilation {found['compile_seconds']:.1f} s; "
        f"mean log-likelihoods differ by {found['largest_difference_in_mean_log_likelihood']:.0e} at the "
        f"most.\n\n{table(pd.DataFrame(rows))}"
    )


def growth(found: dict[str, Any]) -> str:
    """Return a table of each thing that grows, one below the other."""
    names = {"rows": "visits", "lanes": "lanes", "n_clusters": "clusters", "latent_dim": "latents"}
    rows = [
        {
            "what grows": names[kind],
            "to": one[kind],
            "seconds": seconds(one["seconds"]),
            "times the first": one["times_first"],
            "peak memory, GB": one["peak_memory_gb"],
        }
        for kind, lines in found["growth"].items()
        for one in lines
    ]
    return table(pd.DataFrame(rows), {"to": ",", "times the first": ".2f", "peak memory, GB": ".1f"})


def sweep(found: dict[str, Any]) -> str:
    """Return a table of the programs."""
    (ours,) = (one for one in found["results"] if one["program"] == "jvade")
    rows = [
        {
            "program": one["program"],
            "seconds": seconds(one["seconds"]),
            "times ours": one["times_ours"],
            "compilation and warming up, s": warming(one),
            "losses of the settings": f"{min(one['losses']):.2f} to {max(one['losses']):.2f}",
            "from ours, setting by setting, %": "{:.1f} (at most {:.1f})".format(*_apart(one, ours)),
        }
        for one in found["results"]
    ]
    return table(pd.DataFrame(rows), {"times ours": ".1f", "compilation and warming up, s": ".1f"})


def _apart(one: dict[str, Any], ours: dict[str, Any]) -> tuple[float, float]:
    """Return by how many percent losses differ from ours, setting by setting: the median, and the most."""
    differences = [100 * abs(a / b - 1) for a, b in zip(one["losses"], ours["losses"], strict=True)]
    return statistics.median(differences), max(differences)


def stages(found: dict[str, Any]) -> str:
    """Return a table of the stages, and the memory."""
    rows = [{"stage": name, "seconds": seconds(one)} for name, one in found["seconds"].items()]
    return f"Peak memory {found['peak_memory_gb']['median']:.1f} GB.\n\n{table(pd.DataFrame(rows))}"


def fit(found: dict[str, Any]) -> str:
    """Return a table of the parts of a fit, a column for each code."""
    columns = {
        f"{name} ({one['revision']}), {one['runs']} runs, s": one["seconds"]
        for name, one in found["code"].items()
    }
    rows = [
        {"part": part} | {name: seconds(one[part]) for name, one in columns.items()}
        for part in next(iter(columns.values()))
    ]
    what = f"{found['options']['visits']:,} visits, a fifth of the patients kept aside."
    return f"{what}\n\n{table(pd.DataFrame(rows))}"


def step(found: dict[str, Any]) -> str:
    """Return a table of what a step is spent on, a column for each lane and stage."""
    lanes = found["microseconds"]
    kinds = list(dict.fromkeys(kind for each in lanes.values() for kind in each))
    kinds.sort(key=lambda kind: kind in ("between programs", "in all"))

    def cell(each: dict[str, dict[str, float]], kind: str) -> str:
        if kind not in each:
            return "-"
        one, whole = each[kind]["median"], each["in all"]["median"]
        return f"{one:,.0f}" if kind == "in all" else f"{one:,.0f} ({100 * one / whole:.0f} %)"

    rows = [
        {"microseconds": kind} | {name: cell(each, kind) for name, each in lanes.items()} for kind in kinds
    ]
    return table(pd.DataFrame(rows))


def compilation(found: dict[str, Any]) -> str:
    """Return a table of the fits."""
    rows = [{"what": name, "seconds": seconds(one)} for name, one in found["seconds"].items()]
    return f"{found['options']['rows']:,} rows of six numbers.\n\n{table(pd.DataFrame(rows))}"


def simulate(found: dict[str, Any]) -> str:
    """Return a table of the districts."""
    rows = [
        {
            "visits": one["visits"],
            "patients": one["patients"],
            "seconds": one["seconds"],
            "peak memory, GB": one["peak_memory_gb"],
            "parts": one["parts"],
            "visits, MB": one["visits_mb"],
        }
        for one in found["districts"]
    ]
    forms = dict.fromkeys(("visits", "patients", "parts", "visits, MB"), ",.0f")
    return table(pd.DataFrame(rows), forms | {"seconds": ".1f", "peak memory, GB": ".1f"})


def features(found: dict[str, Any]) -> str:
    """Return a table of the sizes, by what DuckDB may hold."""
    rows = [
        {
            "visits": one["rows"],
            "`--tables.memory`": one["memory"],
            "seconds": f"{one['seconds']:.1f} ({min(one['runs']):.1f} to {max(one['runs']):.1f})",
            "times as long": "" if one["times"] == 1 else f"{one['ratio']:.1f}",
            "peak memory, GB": one["peak_gb"],
        }
        for one in found["runs"]
    ]
    return table(pd.DataFrame(rows), {"visits": ",.0f", "peak memory, GB": ".2f"})


def distances(found: dict[str, Any]) -> str:
    """Return a table of both sides by number of columns."""
    rows = [
        {
            "columns": one["columns"],
            "ours, s": seconds(one["ours"]),
            "SciPy's, s": seconds(one["scipy"]),
            "times ours": one["scipy"]["median"] / one["ours"]["median"],
        }
        for one in found["seconds"]
    ]
    return table(pd.DataFrame(rows), {"times ours": ".1f"})


def predict(found: dict[str, Any]) -> str:
    """Return a table of what the rows come from."""
    rows = [
        {"from": name, "seconds": seconds(one["seconds"]), "peak memory, GB": one["peak_memory_gb"]["most"]}
        for name, one in found["from"].items()
    ]
    return (
        f"{found['options']['visits']:,} visits.\n\n{table(pd.DataFrame(rows), {'peak memory, GB': '.2f'})}"
    )


def handout(found: dict[str, Any]) -> str:
    """Return a table of one line: what the report took."""
    one = found["report"]
    row = {
        "visits": f"{found['options']['visits']:,}",
        "seconds": seconds(one["seconds"]),
        "peak memory, GB": one["peak_memory_gb"]["most"],
        "page, MB": one["page_mb"]["most"],
    }
    return table(pd.DataFrame([row]), {"peak memory, GB": ".2f", "page, MB": ".2f"})


def quality(found: dict[str, Any]) -> str:
    """Return a table of the methods, cohort by cohort."""
    rows = []
    for cohort, one in found["cohorts"].items():
        (ceiling,) = (line for line in one["methods"] if line["method"].startswith("supervised"))
        for line in one["methods"]:
            mean, sd, agreement = line["mean"], line["sd"], line["agreement"]
            known = [name for name in HEADS if agreement and mean[name] and sd[name] is not None]
            cv = [sd[name] / abs(mean[name]) for name in known]
            rows.append(
                {
                    "district": cohort,
                    "method": line["method"],
                    "seeds": line["seeds"],
                    "ARI with the types": _mean(mean, sd, "ari", 3),
                    "of the ceiling's": _of_ceiling(line, ceiling),
                    "NMI": mean["nmi"],
                    "clusters alive, least": line["alive_least"],
                    "effective clusters": mean["effective_clusters"],
                    "largest share, %": 100 * mean["largest_share"],
                    "seeds agree: mean ARI": agreement["mean"] if agreement else None,
                    "least": agreement["least"] if agreement else None,
                    "highest cross rate, times overall": _mean(mean, sd, "highest_cross_ratio", 1),
                    "seeds at 4 times": line["four_times"],
                    "largest CV of an index": max(cv) if cv else None,
                    "sure of 0.8, %": _hundredfold(mean.get("sure")),
                    "of them of the cluster's type, %": _hundredfold(mean.get("sure_right")),
                }
            )
    hundredths = "NMI", "seeds agree: mean ARI", "least", "largest CV of an index"
    forms: dict[str, str] = dict.fromkeys(hundredths, ".2f")
    forms |= {"effective clusters": ".1f", "largest share, %": ".0f"}
    forms |= dict.fromkeys(("sure of 0.8, %", "of them of the cluster's type, %"), ".0f")
    text = f"{table(pd.DataFrame(rows), forms)}\n\n{_indices(found)}"
    tried = [line for one in found["cohorts"].values() for line in one["methods"] if line.get("runs")]
    if tried:
        failed = "; ".join(
            f"{name} {sum(line['failed'] for line in tried if line['method'] == name)} of "
            f"{sum(line['runs'] for line in tried if line['method'] == name):,}"
            for name in dict.fromkeys(line["method"] for line in tried)
        )
        text += f"\n\nTrainings that went non-finite: {failed}."
    halves = [
        f"{name} {sum(values) / len(values):.2f} ({min(values):.2f} to {max(values):.2f}, {len(values)} "
        f"pairs, district {cohort})"
        for cohort, one in found["cohorts"].items()
        for name, values in one.get("halves", {}).items()
    ]
    return text + (f"\n\nFitted to disjoint halves of the patients: {'; '.join(halves)}." if halves else "")


def _hundredfold(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _of_ceiling(line: dict[str, Any], ceiling: dict[str, Any]) -> str:
    if line is ceiling or "of_ceiling" not in line:  # earlier files have no interval
        return f"{line['mean']['ari'] / ceiling['mean']['ari']:.3f}"
    return "{mean:.3f} ({low:.2f} to {high:.2f})".format(**line["of_ceiling"])


def _mean(
    mean: dict[str, float], sd: dict[str, float | None], name: str, digits: int, factor: float = 1
) -> str:
    of_runs = sd[name]
    known = "" if of_runs is None else f" ± {factor * of_runs:.{digits}f}"  # one run has no spread
    return f"{factor * mean[name]:.{digits}f}{known}"


#: What earlier files of the quality bench have not: measure, head, digits, factor.
LATER = (
    ("elbo_aside", "ELBO of the visits kept aside, nats", 2, 1),
    ("gini", "Gini of crossing", 2, 1),
    ("smallest_share", "smallest share, %", 2, 100),
)


def _indices(found: dict[str, Any]) -> str:
    """Return a table of the indices and bounds of the methods, and one of the types found, by cohort."""
    rows, types = [], []
    for cohort, one in found["cohorts"].items():
        for line in one["methods"]:
            mean, sd = line["mean"], line["sd"]
            row = {"district": cohort, "method": line["method"]}
            f1 = {
                f"type {name.removeprefix('f1_type_')}": _mean(mean, sd, name, 2)
                for name in mean
                if name.startswith("f1_type_")
            }
            types += [row | f1] if f1 else []
            row |= {
                HEADS[name]: _mean(mean, sd, name, 0 if name == "calinski_harabasz" else 2) for name in HEADS
            }
            bound = "elbo" if mean.get("elbo") is not None else None
            row |= {"validation ELBO, nats": _mean(mean, sd, bound, 2) if bound else "-"}
            for name, head, digits, factor in LATER:
                if name in mean:
                    known = mean[name] is not None
                    row[head] = _mean(mean, sd, name, digits, factor) if known else "-"
            rows.append(row)
    text = table(pd.DataFrame(rows))
    if types:
        text += f"\n\nThe highest F1 that a cluster has with each type:\n\n{table(pd.DataFrame(types))}"
    return text


def ablation(found: dict[str, Any]) -> str:
    """Return a table of the variants."""
    rows = []
    for name, one in found["variants"].items():
        row = {
            "variant": name,
            "single runs agree": one["run_agreement"],
            "alive in a single run": "{} to {}".format(*one["run_alive"]),
            "consensuses agree": one["agreement"],
            **({"least": one["agreement_least"]} if len(one["alive"]) > 2 else {}),
            "alive": min(one["alive"]),
            "largest share, %": 100 * statistics.mean(one["largest_share"]),
        }
        if "silhouette" in one:
            row |= {"silhouette": statistics.mean(one["silhouette"])}
            row |= {"Calinski-Harabasz": statistics.mean(one["calinski_harabasz"])}
            row |= {"Davies-Bouldin": statistics.mean(one["davies_bouldin"])}
        if "highest_cross_ratio" in one:
            row |= {"highest cross rate, times overall": statistics.mean(one["highest_cross_ratio"])}
        if "ari" in one:
            row |= {"ARI of a run (seen while exploring)": one["run_ari"]}
            row |= {"ARI of the consensus (seen while exploring)": statistics.mean(one["ari"])}
        rows.append(row)
    forms: dict[str, str] = dict.fromkeys(("single runs agree", "consensuses agree", "least"), ".2f")
    forms |= dict.fromkeys([name for name in rows[0] if name.startswith("ARI")], ".3f")
    forms |= {name: ".1f" for name in rows[0] if name.startswith("highest")}
    forms |= dict.fromkeys(("silhouette", "Davies-Bouldin"), ".2f")
    forms |= dict.fromkeys(("Calinski-Harabasz", "largest share, %"), ".0f")
    return table(pd.DataFrame(rows), forms)


def restarts(found: dict[str, Any]) -> str:
    """Return a table of all single runs, and of those of the best ELBO."""
    rows = []
    for name, one in found["configurations"].items():
        for which, label in (("all", "all"), ("taken", "best of six")):
            said, ranks = one[which], one["rank_correlation_of_elbo"]
            rows.append(
                {
                    "configuration": name,
                    "runs": f"{label}, {said['runs']}",
                    "held-out ELBO, nats a visit": said["elbo"],
                    "agree": said["agreement"],
                    "clusters alive": said["alive"],
                    "ARI": said["ari"],
                    "rank correlation of ELBO and alive": ranks["alive"] if which == "all" else None,
                    "of ELBO and ARI": ranks["ari"] if which == "all" else None,
                }
            )
    numbers = list(rows[0])[2:]
    return table(pd.DataFrame(rows), dict.fromkeys(numbers, ".2f") | {"clusters alive": ".1f"})


def likeness(found: dict[str, Any]) -> str:
    """Return a table of the tables of each kind, small ones as the mean of their draws."""
    lines = pd.DataFrame([{"ari": float("nan")} | one for one in found["results"]])
    each = lines.groupby(["table", "likelihood", "joined_by"], sort=False)
    rows = each.agg(
        draws=("ari", "size"),
        alive=("alive_least", "min"),
        agreement=("agreement", "mean"),
        ari=("ari", "mean"),
    )
    names = {
        "draws": "draws",
        "alive": "alive, least",
        "agreement": "seeds agree",
        "ari": "ARI with what is planted",
    }
    wide = rows.reset_index().rename(columns=names | {"joined_by": "joined by"})
    return table(wide, {"seeds agree": ".2f", "ARI with what is planted": ".3f"})


def plain(found: dict[str, Any]) -> str:
    """Return a table of the methods on either kind of table."""
    rows = [
        {"table": kind, "method": name, "ARI": statistics.mean(each), "least": min(each), "most": max(each)}
        for kind, methods in found["ari"].items()
        for name, each in methods.items()
    ]
    forms: dict[str, str] = dict.fromkeys(("ARI", "least", "most"), ".2f")
    options = found["options"]
    return f"{options['draws']} draws of {options['rows']:,} rows each.\n\n{table(pd.DataFrame(rows), forms)}"


def mnist(found: dict[str, Any]) -> str:
    """Return the course of the accuracy over the fine-tuning, a column a seed."""
    runs = found["runs"]["chosen"]
    by_epoch: dict[int, dict[str, dict[str, Any]]] = {}
    for seed, one in runs.items():
        for line in one["course"]:
            if "accuracy" in line:  # the pretraining has none
                by_epoch.setdefault(line["epoch"], {})[seed] = line
    judged = [seed for seed in runs if any(seed in lines for lines in by_epoch.values())]
    names = {seed: f"accuracy of seed {seed}, %" for seed in judged}
    rows = [
        {
            "epochs of fine-tuning": epoch,
            "minutes of a seed": statistics.mean(line["seconds"] for line in lines.values()) / 60,
            "clusters alive, least": min(line["alive"] for line in lines.values()),
        }
        | {names[seed]: 100 * lines[seed]["accuracy"] if seed in lines else math.nan for seed in judged}
        for epoch, lines in by_epoch.items()
    ]
    done = [100 * one["accuracy"] for one in runs.values() if one["done"]]
    last = f"After the last epoch: {_percent(done)}" if done else "No seed has come to its last epoch."
    forms = dict.fromkeys(["minutes of a seed", *names.values()], ".1f")
    return f"{found['images']:,} images. {last}\n\n{table(pd.DataFrame(rows), forms)}"


def mnist_digits(found: dict[str, Any]) -> str:
    """Return a table of what the settings were chosen among."""
    rows = [
        {
            "settings": name,
            "where the mixture starts": _percent(
                100 * line["accuracy"]
                for one in runs.values()
                for line in one["course"]
                if line["stage"] == "mixture start"
            ),
            "after the last epoch": _percent(100 * one["accuracy"] for one in runs.values() if one["done"]),
        }
        for name, runs in found["runs"].items()
    ]
    return f"{found['images']:,} images. Accuracy:\n\n{table(pd.DataFrame(rows))}"


def mnist_consensus(*each: dict[str, Any]) -> str:
    """Return a line a seed: what its consensus of short runs comes to; and how the seeds of a file agree."""
    by = {"average": "by average linkage, %", "ward": "by Ward's, %"}
    rows = [
        {
            "settings": name,
            "seed": seed,
            "accuracy, %": 100 * one["accuracy"],
            "joined by": WAYS[one.get("linkage", "ward")],
            **{head: 100 * one["accuracy_by_linkage"][linkage] for linkage, head in by.items()},
            "clusters alive": one["alive"],
            "two of its runs agree": one["run_agreement"],
            "support of 0.8, % of the images": 100 * one["sure"],
            "accuracy of these, %": 100 * one["accuracy_of_the_sure"],
            "minutes": one["seconds"] / 60,
        }
        for found in each
        for name, seeds in found["runs"].items()
        for seed, one in seeds.items()
    ]
    forms = dict.fromkeys(rows[0], ".1f") | {"two of its runs agree": ".2f", "clusters alive": ".0f"}
    chosen = [100 * one["accuracy"] for found in each for one in found["runs"]["chosen"].values()]
    said = f"{each[0]['images']:,} images, as chosen: {_percent(chosen)}."
    if pairs := [pair for found in each for pair in found["agreement"]["chosen"]]:
        if len(pairs) == len(chosen) * (len(chosen) - 1) / 2:
            said += (
                f" Seeds agree at a mean ARI of {statistics.mean(pairs):.2f}, at the least {min(pairs):.2f}."
            )
        else:  # of one file only
            said += f" Pairs of seeds that were compared, {len(pairs)}: ARI {statistics.mean(pairs):.2f}."
    return f"{said}\n\n{table(pd.DataFrame(rows), forms)}"


def _more(ours: Sequence[float], theirs: Sequence[float]) -> str:
    each = [a - b for a, b in zip(ours, theirs, strict=True)]
    return f"{statistics.mean(each):.3f} ± {statistics.stdev(each) / len(each) ** 0.5:.3f}"


def joining(found: dict[str, Any]) -> str:
    """Return a line a table: what either linkage keeps of other runs, which is taken, and their ARI."""
    rows = [
        {
            "table": one["table"],
            **{f"kept by {word}": statistics.mean(one[way]["kept"]) for way, word in WAYS.items()},
            "Ward's keeps more by": _more(one["ward"]["kept"], one["average"]["kept"]),
            "taken": WAYS[one["taken"]],
            **{f"ARI by {word}": one[way]["ari"] for way, word in WAYS.items()},
        }
        for one in found["results"]
    ]
    forms = {name: ".3f" for name in rows[0] if name.startswith(("kept", "ARI"))}
    return table(pd.DataFrame(rows), forms)


def linkage(found: dict[str, Any]) -> str:
    """Return a table of the ways to join the same runs, district by district."""
    rows = [
        {
            "district": cohort,
            "smallest share of a group, subsets": name,
            "consensuses": one["consensuses"],
            "agree": one["agreement"],
            "least": one["least"],
            "clusters": " to ".join(map(str, sorted({min(one["clusters"]), max(one["clusters"])}))),
            "smallest cluster, % of the visits": 100 * statistics.mean(one["smallest_share"]),
            **{HEADS[index]: one["mean"][index] for index in HEADS},
            "these three vary by, %": ", ".join(f"{100 * one['cv'][index]:.0f}" for index in HEADS),
            "highest cross rate, times overall (seen while exploring)": statistics.mean(
                one["highest_cross_ratio"]
            ),
            "ARI with the types (seen while exploring)": statistics.mean(one["ari"]),
        }
        for cohort, ways in found["cohorts"].items()
        for name, one in ways.items()
    ]
    forms: dict[str, str] = {name: ".2f" for name, value in rows[0].items() if isinstance(value, float)}
    forms |= {
        "Calinski-Harabasz": ".0f",
        "silhouette": ".3f",
        "ARI with the types (seen while exploring)": ".3f",
    }
    return table(pd.DataFrame(rows), forms)


def _percent(values: Iterable[float]) -> str:
    """Return mean and standard deviation of some seeds, and how many they are."""
    each = [*values]
    if not each:
        return "-"
    spread = f" ± {statistics.stdev(each):.1f}" if len(each) > 1 else ""
    return f"{statistics.mean(each):.1f}{spread} % ({len(each)} seed{'s' * (len(each) > 1)})"


#: What was asked of a GPU: its cells stay empty until a whole run fills them.
ON_A_GPU = {
    "one GPU: one lane against PyTorch recorded as CUDA graphs; against idiomatic": "2 times; 10 times",
    "one GPU: 35 lanes against tuned, one after the other; idiomatic, likewise; stacked": "20; 150; 3 times",
    "one GPU: the time of 35 lanes by that of one": "at most 3",
    "one GPU: the full preset": "3 min",
}
#: Tables of more than one file.
OF_SEVERAL = {
    "asked": ("throughput", "step", "em", "growth", "stages_full"),
    "mnist_consensus": ("mnist_consensus_0", "mnist_consensus"),
}
TABLES: dict[str, Callable[..., str]] = {
    one.__name__: one
    for one in (
        asked,
        throughput,
        losses,
        em,
        growth,
        sweep,
        fit,
        step,
        compilation,
        predict,
        handout,
        stages,
        simulate,
        distances,
    )
}
#: The pages, and what makes the table of each name.
PAGES = {
    HERE / "README.md": TABLES
    | {"growth_sizes": growth, "throughput_fast": throughput}
    | {"stages_full": stages},
    HERE.parent / "docs" / "data.md": {"features": features},
    HERE.parent / "docs" / "method.md": {
        "quality": quality,
        "ablation": ablation,
        "ablation_covariances": ablation,
        "restarts": restarts,
        "likeness": likeness,
        "plain": plain,
        "mnist": mnist,
        "mnist_digits": mnist_digits,
        "mnist_consensus": mnist_consensus,
        "mnist_consensus_digits": mnist_consensus,
        "mnist_consensus_deformed": mnist_consensus,
        "linkage": linkage,
        "joining": joining,
        "joining_fresh": joining,
        "admissions": ablation,
    },
    HERE.parent / "docs" / "earlier.md": {
        "quality_earlier": quality,
        "ablation_earlier": ablation,
        "ablation_gaussian": ablation,
        "ablation_kinds": ablation,
        "ablation_real": ablation,
        "ablation_options": ablation,
        "ablation_balance": ablation,
    },
}


def fill(text: str, results: Path, tables: dict[str, Callable[..., str]] = TABLES) -> str:
    """Return the text with every table as the files say.

    Raises:
        ValueError: the text has no marks of a table.
        OSError: a file cannot be read.
    """
    for name, make in tables.items():
        files = [results / f"{one}.json" for one in OF_SEVERAL.get(name, (name,))]
        body = make(*(json.loads(file.read_text(encoding="utf-8")) for file in files))
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        if not marks.search(text):
            raise ValueError(f"expected the marks <!-- {name} --> and <!-- end of {name} -->, found none")
        text = marks.sub(lambda found, body=body: f"{found[1]}\n{body}\n\n{found[2]}", text)
    return text


if __name__ == "__main__":
    for path, tables in PAGES.items():
        path.write_text(fill(path.read_text(encoding="utf-8"), HERE / "results", tables), encoding="utf-8")
