"""The report as one file of HTML: words around the numbers, tables and pictures of a `Handout`."""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from importlib.resources import files
from typing import Any, Literal

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from jvade.analysis.types import LIMITS, Figure, Need
from jvade.report.drawing import cluster_color
from jvade.report.handout import charts
from jvade.report.handout.charts import Caption, Text
from jvade.report.handout.content import OTHERS, Cluster, Handout
from jvade.version import __version__

Language = Literal["en", "zh", "both"]

#: The agreement of seeds from which clusters count as the same.
AGREE = 0.8
#: Ratio bars of a cluster; the table of profiles has the others.
MOST_BARS = 16
#: Doublings of the figure of all visits that the longest bar stands for.
MOST_DOUBLINGS = 3.0
#: Room between two steps of the flows of a cluster, so that two clusters have room side by side.
NARROW = 165.0
#: Groups of the profile that are no inputs of the clustering.
NO_INPUTS = ("share", "outcome", "destination", "further")
#: What the label of a person's own sub-district begins with.
PLACE = "Sub-district: "
#: Columns of the table of clusters.
CLUSTER_COLUMNS = (
    "cluster", "type_en", "type_zh", "visits", "patients", "share_percent", "cross_rate_percent",
    "advice_en", "advice_zh",
)  # fmt: skip
CONTENTS = (
    ("found", "Found", "发现"),
    ("clusters", "Clusters", "各簇"),
    ("table", "Profiles", "画像"),
    ("map", "Map", "分布图"),
    ("flows", "Flows", "流向"),
    ("browser", "Each cluster", "逐簇查看"),
    ("trust", "Trust", "可靠性"),
    ("method", "Method", "方法"),
    ("limits", "Limits", "局限"),
)


def words() -> dict[str, dict[str, Text]]:
    """Return what variables, nodes, groups and units are called, by language."""
    return tomllib.loads((files(__package__ or "") / "words.toml").read_text(encoding="utf-8"))


class Page:
    """Writes the report of one handout.

    Args:
        handout: what is printed.
        language: "en", "zh", or "both" with a switch.
        made: day it is made, as it is printed.
    """

    def __init__(self, handout: Handout, language: Language, made: str) -> None:
        self.handout, self.made = handout, made
        self.languages = ("en", "zh") if language == "both" else (language,)
        self.words = known = words()
        self.groups, self.units = known["groups"], known["units"]
        profile = handout.profile
        self.labels = {
            name: _named(known["variables"].get(name), str(label), name)
            for name, label in profile[["variable", "label"]].itertuples(index=False)
        }
        self.unit_of = dict(profile[["variable", "unit"]].itertuples(index=False))
        self.nodes = {
            name: _named(known["nodes"].get(name) or self.labels.get(name), str(label), name)
            for name, label in handout.nodes[["node", "label"]].itertuples(index=False)
        }

    def say(self, text: Text) -> Markup:
        """Return a text in every language of the page, as HTML that is valid in SVG too."""
        if len(self.languages) == 1:
            return Markup(escape(text[self.languages[0]]))
        if text["en"] == text["zh"]:
            return Markup(escape(text["en"]))
        return Markup("").join(
            Markup('<{} lang="{}">{}</{}>').format(Markup("span"), one, text[one], Markup("span"))
            for one in self.languages
        )

    def say_in_svg(self, text: Text) -> Markup:
        """Return the same for a picture."""
        return Markup(str(self.say(text)).replace("<span", "<tspan").replace("</span", "</tspan"))

    def t(self, en: str, zh: str) -> Markup:
        """Return words given in both languages."""
        return self.say({"en": en, "zh": zh})

    def plain(self, en: str, zh: str) -> str:
        """Return words where no markup may stand: in both languages."""
        return " / ".join({"en": en, "zh": zh}[one] for one in self.languages)

    def count(self, value: float) -> str:
        """Return a number of visits or patients."""
        return "·" if math.isnan(value) else f"{value:,.0f}"

    def number(self, variable: str, value: float) -> Markup:
        """Return a figure of the profile with its unit."""
        if math.isnan(value):
            return Markup("·")
        unit = self.unit_of[variable]
        if unit.startswith("percent"):
            return Markup(f"{value:.1f}\u202f%")
        known = self.units.get(unit, {"en": unit, "zh": unit})
        return Markup("{}\u202f{}").format(_plain_number(value), self.say(known))

    def times(self, figure: Figure) -> Markup:
        """Return a figure over that of all visits."""
        return Markup("·") if math.isnan(figure.times) else self.times_of(figure.times)

    def times_of(self, times: float) -> Markup:
        """Return how many times the figure of all visits."""
        text = f"{times:.1f}" if times >= 0.95 else f"{times:.2f}"
        return self.say({one: form.format(times=text) for one, form in self.words["page"]["times"].items()})

    def html(self) -> str:
        """Return the page."""
        handout = self.handout
        here = files(__package__ or "")
        texts = {name: (here / name).read_text(encoding="utf-8") for name in ("style.css", "script.js")}
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        template = environment.from_string((here / "page.html.j2").read_text(encoding="utf-8"))
        columns = [f"cluster{cluster.name}" for cluster in handout.clusters]
        figures = {
            "all": self._flow("all", Caption("flows-words")),
            "crossing": self._flow("all", Caption("crossing-words"), True),
        }
        of_each = [cluster.name for cluster in handout.clusters]
        drawn = {"all": self._drawn("all"), "crossing": self._drawn("all", True)}
        return template.render(
            h=handout,
            t=self.t,
            say=self.say,
            plain=self.plain,
            count=self.count,
            number=self.number,
            times=self.times,
            need=self.need,
            type_of=self.type_of,
            labels=self.labels,
            nodes=self.nodes,
            color=lambda name: cluster_color(float(name)),
            first=self.languages[0],
            languages=self.languages,
            steps=[self.words["heads"][str(step)] for step in sorted(handout.nodes["step"].unique())],
            title=self.plain(*self.words["page"]["title"].values()),
            contents=[one for one in CONTENTS if one[0] != "map" or handout.hexagons is not None],
            made=self.made,
            version=__version__,
            style=Markup(texts["style.css"]),
            script=Markup(texts["script.js"]),
            overall=self._overall_rate(),
            findings=self._findings(),
            warnings=self._warnings(),
            rows=[self._row(row, columns) for row in handout.profile.to_dict("records")],
            map=self._map(None, Caption("map-words")),
            maps={name: self._map(name, Caption(f"map-{name}")) for name in of_each},
            flows=figures
            | {name: self._flow(name, Caption(f"flow-{name}"), apart=NARROW) for name in of_each},
            drawn=drawn | {name: self._drawn(name) for name in of_each},
            flow_rows={
                str(name): rows.to_dict("records")
                for name, rows in handout.flows.groupby("cluster", sort=False)
            },
            moves={name: self._moves(name) for name in of_each},
            option=self._option,
            bars=self._bars(),
            typical=self._typical,
            trust=self._trust(),
            method=self._method(),
            limits=self._limits(),
            account=[(self._account(name), rows) for name, rows in handout.rows],
        )

    def pictures(self) -> dict[str, Markup]:
        """Return the pictures that have a file of their own, by name; one that there is not is empty."""
        return {
            "flows": self._flow("all", Caption(title="Flows of all visits")),
            "flows_crossing": self._flow("all", Caption(title="Flows of visits outside the home area"), True),
            "map": self._map(None, Caption(title="Map of the visits")),
        }

    def _flows_of(self, cluster: str, crossing: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return nodes and flows of a cluster, "all" for all visits; if asked, of crossing visits alone."""
        flows = self.handout.flows.loc[self.handout.flows["cluster"] == cluster]
        nodes = self.handout.nodes.loc[self.handout.nodes["cluster"] == cluster]
        if crossing:
            flows = flows.loc[(flows["from_node"] != "home") & (flows["to_node"] != "home")]
            # What a place of residence or a level has of crossing visits alone is not counted by itself.
            nodes = nodes.loc[nodes["node"] != "home"]
            nodes = nodes.assign(visits=nodes["visits"].where(nodes["step"] == 1))
        return nodes, flows

    def _flow(self, cluster: str, caption: Caption, crossing: bool = False, apart: float = 250.0) -> Markup:
        nodes, flows = self._flows_of(cluster, crossing)
        heads = {int(step): text for step, text in self.words["heads"].items()}
        of_all = self.handout.nodes.query("cluster == 'all' and step == 1 and node != 'home'")["node"]
        colors = {node: charts.PLACES[i % len(charts.PLACES)] for i, node in enumerate(of_all)}
        colors["home"] = charts.HOME_COLOR
        return charts.sankey(nodes, flows, self.nodes, heads, colors, self.say_in_svg, caption, apart)

    def _overall_rate(self) -> float:
        """Return the percentage of all visits that cross."""
        profile = self.handout.profile.set_index("variable")
        return float(profile["overall"]["cross_district"])  # type: ignore[arg-type]

    def _drawn(self, cluster: str, crossing: bool = False) -> Markup:
        """Return how much of its visits the bands of a picture of flows show, where that is not all."""
        _, flows = self._flows_of(cluster, crossing)
        visits = {one.name: one.visits for one in self.handout.clusters}.get(cluster, self.handout.visits)
        if crossing:
            visits *= self._overall_rate() / 100
        shares = charts.drawn(flows, visits)
        if not shares or min(shares) > 99:
            return Markup("")
        return self._sentence("drawn", shares=" / ".join(f"{min(share, 100.0):.0f}" for share in shares))

    def _map(self, chosen: str | None, caption: Caption) -> Markup:
        if self.handout.hexagons is None:
            return Markup("")
        names = [cluster.name for cluster in self.handout.clusters]
        return charts.latent_map(self.handout.hexagons, names, chosen, caption)

    def _moves(self, cluster: str) -> list[Markup]:
        table = self.handout.traversal
        if table is None:
            return []
        own = table.loc[table["cluster"].astype(str) == cluster]
        labels = {name: self.labels.get(name, {"en": name, "zh": name}) for name in own["variable"].unique()}
        return charts.traversals(own, labels, self.say_in_svg, Caption(f"move-{cluster}"))

    def _row(self, row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
        against = math.nan if row["variable"] == "share" else row["overall"]
        cells = [self._cell(row[name], against) for name in columns]
        cells += [self._cell(row["overall"], math.nan), self._cell(row["cv"], math.nan, ".2f")]
        unit = self.units.get(row["unit"], {"en": row["unit"], "zh": row["unit"]})
        group = self.groups.get(row["group"], {"en": row["group"], "zh": row["group"]})
        return {"group": group, "variable": row["variable"], "unit": unit, "cells": cells}

    def _cell(self, value: float, overall: float, form: str = "") -> dict[str, str]:
        if math.isnan(value):
            return {"text": "·", "sort": "", "shade": ""}
        text = format(value, form) if form else _plain_number(value)
        return {"text": text, "sort": f"{value:.6g}", "shade": _shade(value, overall)}

    def _bars(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of the ratio bars of each cluster: of the same variables, to be compared.

        Those come first in which a cluster differs most from all visits.
        """
        most: dict[str, float] = {}
        for cluster in self.handout.clusters:
            for variable, figure in cluster.figures.items():
                if variable != "share" and figure.times > 0:  # not NaN
                    height = min(abs(math.log2(figure.times)), MOST_DOUBLINGS)
                    most[variable] = max(most.get(variable, 0.0), height)
        variables = sorted(most, key=lambda variable: -most[variable])[:MOST_BARS]
        return {one.name: [self._bar(v, one.figures[v]) for v in variables] for one in self.handout.clusters}

    def _bar(self, variable: str, figure: Figure) -> dict[str, Any]:
        low, high = -MOST_DOUBLINGS, MOST_DOUBLINGS
        # What is left out has no bar; what is 0 the longest.
        doublings = 0.0 if math.isnan(figure.times) else math.log2(figure.times) if figure.times else low
        part = max(low, min(high, doublings)) / MOST_DOUBLINGS * 50
        return {
            "variable": variable,
            "figure": figure,
            "less": part < 0,
            "left": f"{50 + min(part, 0):.1f}",
            "width": f"{abs(part):.1f}",
        }

    def _typical(self, cluster: Cluster) -> Markup:
        """Return the most frequent value of each group of shares, and the means: an aggregate, no person."""
        parts = [
            Markup("{} {}").format(
                self.say(self.labels[name]), self.number(name, cluster.figures[name].value)
            )
            for name in ("age", "female", "cost")
            if name in cluster.figures and not math.isnan(cluster.figures[name].value)
        ]
        profile = self.handout.profile
        groups = dict(zip(profile["variable"], profile["group"], strict=True))
        for group in ("institution", "diagnosis", "residence"):
            own = {
                name: cluster.figures[name].value
                for name in groups
                if groups[name] == group
                and not math.isnan(cluster.figures[name].value)
                and not name.startswith("subdistrict")
            }
            # Only where all of the group may be told, and its most frequent beats "none of these".
            hidden = any(math.isnan(cluster.figures[name].value) for name in groups if groups[name] == group)
            most = max(own, key=lambda name: own[name], default="")
            if own and not hidden and own[most] > max(0.0, 100 - sum(own.values())):
                parts.append(
                    Markup("{} {}").format(self.say(self.labels[most]), self.number(most, own[most]))
                )
        return self.t("; ", "；").join(parts)  # noqa: RUF001

    def type_of(self, cluster: Cluster) -> Text:
        """Return the name of the type that a cluster is of, or that none fits, or that it cannot be told."""
        if cluster.care_type:
            return cluster.care_type.name
        return self.words["page"]["undecided" if cluster.undecided else "no_type"]

    def need(self, need: Need, cluster: Cluster) -> Markup:
        """Return a figure that decided on a type or an advice, and the limits that it meets."""
        figure, limits = cluster.figures[need.variable], self.words["limits"]
        said = []
        for name in LIMITS:
            limit = getattr(need, name)
            if limit is not None:
                form = self.times_of if name.startswith("times") else partial(self.number, need.variable)
                said.append(self.say(limits[name.removeprefix("times_")]) + " " + form(limit))
        if any(name.startswith("times") and getattr(need, name) is not None for name in LIMITS):
            said.insert(0, self.times(figure))
        return Markup("{} {} ({})").format(
            self.say(self.labels[need.variable]),
            self.number(need.variable, figure.value),
            Markup(", ").join(said),
        )

    def _called(self, cluster: Cluster) -> Text:
        """Return the number of a cluster, and its name if it has one, as a part of a sentence."""
        if cluster.care_type is None:
            return dict.fromkeys(("en", "zh"), cluster.name)
        name = cluster.care_type.name
        return {"en": f"{cluster.name} ({name['en']})", "zh": f"{cluster.name}（{name['zh']}）"}  # noqa: RUF001

    def _option(self, cluster: Cluster) -> Text:
        name = self.type_of(cluster)
        return {one: f"{cluster.name} · {name[one]}" for one in ("en", "zh")}

    def _sentence(self, key: str, **values: Any) -> Markup:
        return self.say({one: text.format(**values) for one, text in self.words["sentences"][key].items()})

    def _findings(self) -> list[Markup]:
        handout = self.handout
        shown = [c for c in handout.clusters if not math.isnan(c.figures["cross_district"].value)]
        overall = [c.figures["cross_district"].overall for c in shown]
        if not shown or not overall[0] > 0:
            return [self._sentence("nothing_shown")]
        top = max(shown, key=lambda c: c.figures["cross_district"].value)
        rate, share = top.figures["cross_district"], top.figures["share"].value
        above = [c for c in shown if c.figures["cross_district"].times > 1]
        crossing = sum(c.visits * c.figures["cross_district"].value for c in above)
        all_crossing = handout.visits * rate.overall
        part = 100 * crossing / all_crossing if all_crossing else 0.0
        theirs = 100 * sum(c.visits for c in above) / handout.visits
        largest = max(handout.clusters, key=lambda c: c.visits)
        lines = [
            self._sentence(
                "most_crossing", name=self._called(top), rate=rate.value, times=rate.times, share=share
            ),
            *([self._sentence("above", n=len(above), share=theirs, part=part)] if above else []),
            self._sentence("largest", name=self._called(largest), share=largest.figures["share"].value),
        ]
        nodes = handout.nodes
        none = nodes["node"].isin(["home", OTHERS])
        going = nodes.loc[(nodes["cluster"] == "all") & (nodes["step"] == 1) & ~none]
        places = going.dropna(subset="visits").set_index("node")["visits"]
        if len(places) > 1 and float(all_crossing) > 0:
            place = str(places.idxmax())
            part = 1e4 * float(places.max()) / all_crossing
            lines.append(self._sentence("going", part=part, place=self.nodes[place]))
        return lines

    def _warnings(self) -> list[Markup]:
        handout, about = self.handout, self.handout.about
        lost = about["n_clusters"] - about["alive"]
        lines = self._warnings_of_seeds()
        if lost:
            lines.append(self._sentence("lost", lost=lost, n_clusters=about["n_clusters"]))
        if handout.left_out:
            lines.append(self._sentence("left_out", n=handout.left_out))
        return lines

    def _warnings_of_seeds(self) -> list[Markup]:
        about, found, lines = self.handout.about, self.handout.stability, []
        if self.handout.whose == "robust":
            if found["agreement"] is None:
                return [self._sentence("one_run")]
            return [] if found["sound"] else [self._sentence("doubtful")]
        if found["ari_mean"] is not None and found["ari_mean"] < AGREE:
            lines.append(self._sentence("depends", runs=found["runs"], ari=found["ari_mean"]))
        if not about["converged"]:
            lines.append(self._sentence("unconverged", epochs=about["epochs"]))
        if fewer := sum(n < about["n_clusters"] for n in found["clusters"]):
            least = min(found["clusters"])
            lines.append(self._sentence("runs_lost", runs=len(found["clusters"]), fewer=fewer, least=least))
        return lines

    def _trust(self) -> list[Markup]:
        found, lines = self.handout.stability, []
        if self.handout.whose == "robust":
            if found["agreement"] is not None:
                doubtful = 100 * found["doubtful"]
                lines.append(self._sentence("consensus", **{**found, "doubtful": doubtful}))
            return lines or [self._sentence("one_run")]
        if found["ari_mean"] is not None:
            mean, least = found["ari_mean"], found["ari_least"]
            lines.append(self._sentence("agreement", runs=found["runs"], mean=mean, least=least))
        else:
            lines.append(self._sentence("one_run"))
        if found["cv"]:
            lines.append(self._sentence("variation", **found["cv"]))
        return lines

    def _method(self) -> list[Markup]:
        told = [one for one in self.handout.profile["group"].unique() if one not in NO_INPUTS]
        names = [self.groups.get(one, {"en": one, "zh": one}) for one in told]
        groups = {"en": ", ".join(n["en"].lower() for n in names), "zh": "、".join(n["zh"] for n in names)}
        about = {**self.handout.stability, **self.handout.about, "groups": groups}
        how = "vade" if self.handout.whose == "study" else "robust"
        return [self._sentence(key, **about) for key in ("described", how, "types")]

    def _account(self, name: str) -> Markup:
        """Return what became of some rows, in words."""
        head, _, rule = name.partition(": ")
        words = self.words["account"]
        said = dict(words.get(head, {"en": head, "zh": head}))
        if of_column := re.fullmatch("column '(.*)': (.*)", rule):
            rule = words.get(of_column[2], {"en": of_column[2], "zh": of_column[2]})
            for one, text in words["by the rule of a column"].items():
                said[one] += text.format(column=of_column[1], rule=rule[one])
        return self.say(said)

    def _limits(self) -> list[Markup]:
        handout = self.handout
        rule, who = handout.rule, self.words["who"]["patients" if handout.has_patients else "records"]
        if handout.protected:
            lines = [
                self._sentence("rule", min_patients=rule.min_patients, who=who),
                self._sentence("rounding", rounding=rule.rounding),
            ]
        else:
            lines = [self._sentence("unprotected")]
        more = ["pooled"] * bool((handout.nodes["node"] == OTHERS).any())
        more += [] if handout.has_patients else ["no_patients"]
        more += ["groups", "causes"] + ["simulated"] * bool(handout.about["simulated"])
        return lines + [self._sentence(key) for key in more]


def _named(known: Text | None, label: str, name: str) -> Text:
    """Return the words for a variable: ours where its label is the usual one, or else the label it has."""
    plain = {label, label.replace(": 0", " "), label.replace(": ", " ")}
    if known is not None and (label == name or known["en"] in plain):
        return known
    if label.startswith(PLACE):
        return {"en": label, "zh": f"街镇 {label.removeprefix(PLACE)}"}
    return {"en": label, "zh": label}


def _plain_number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.1f}"


def _shade(value: float, overall: float) -> str:
    """Return the colour of a cell: the further from all visits, the deeper."""
    if math.isnan(overall) or overall <= 0 or value < 0:
        return ""
    strength = 1.0 if value == 0 else min(abs(math.log2(value / overall)) / 3, 1.0)
    if strength < 0.05:
        return ""
    base = (236, 140, 70) if value > overall else (95, 155, 215)
    red, green, blue = (round(255 + (one - 255) * strength) for one in base)
    return f"#{red:02x}{green:02x}{blue:02x}"


def sheets(page: Page) -> dict[str, pd.DataFrame]:
    """Return the tables of a report by name: clusters, profiles, flows."""
    handout = page.handout
    clusters = pd.DataFrame(
        [
            {
                "cluster": one.name,
                "type_en": page.type_of(one)["en"],
                "type_zh": page.type_of(one)["zh"],
                "visits": one.visits,
                "patients": one.patients,
                "share_percent": one.figures["share"].value,
                "cross_rate_percent": one.figures["cross_district"].value,
                "advice_en": " ".join(a.text["en"] for a in one.care_type.advice) if one.care_type else "",
                "advice_zh": "".join(a.text["zh"] for a in one.care_type.advice) if one.care_type else "",
            }
            for one in handout.clusters
        ],
        columns=pd.Index(CLUSTER_COLUMNS),
    )
    profile = handout.profile.drop(columns="label")
    both = [page.labels[name] for name in profile["variable"]]
    profile.insert(2, "label_en", [one["en"] for one in both])
    profile.insert(3, "label_zh", [one["zh"] for one in both])
    flows = handout.flows.assign(
        from_zh=[page.nodes[name]["zh"] for name in handout.flows["from_node"]],
        to_zh=[page.nodes[name]["zh"] for name in handout.flows["to_node"]],
    )
    return {"clusters": clusters, "profiles": profile, "flows": flows}
