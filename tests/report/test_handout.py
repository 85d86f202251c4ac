"""The report that is handed on: what it holds, what it must not, that its pictures equal its tables."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace
from functools import partial
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import openpyxl
import pandas as pd
import pytest
from markupsafe import Markup
from scipy.optimize import linprog
from scipy.sparse import lil_array

from jvade import cli
from jvade.analysis.disclosure import Rule
from jvade.analysis.types import Figure
from jvade.data.variables import Variable
from jvade.paper import handout, report, study
from jvade.paper.report import ReportSettings, read_types
from jvade.paper.settings import PRESETS
from jvade.paper.stage import read_outcome, read_record
from jvade.paper.stages.cohort import visit_table
from jvade.report.folder import RunFolder
from jvade.report.handout import charts, page
from jvade.report.handout.charts import Caption
from jvade.report.handout.content import Cluster
from jvade.report.handout.page import Page, sheets, words
from jvade.report.terminal import Terminal

#: Elements that need no end.
VOID = {"meta", "br", "img", "input", "link", "hr"}
STAGES = "stability", "profiles", "latents", "robust"
RUN = ["paper", "--preset", "smoke", "--n-visits", "6000", "--only", *STAGES]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Return a finished run with few visits: much of it must be left out."""
    folder = tmp_path_factory.mktemp("handout") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(study, "draw", lambda *_: [])
        cli.main([*RUN, "--out", str(folder)])
    return folder


@pytest.fixture
def without_figures(monkeypatch):
    """Most of what a run takes that has nothing to compute."""
    monkeypatch.setattr(study, "draw", lambda *_: [])


@pytest.fixture(scope="module")
def outcomes(smoke):
    names = {name for of_one in handout.STAGES.values() for name in of_one}
    return {name: read_outcome(smoke, read_record(smoke, name)) for name in names}


@pytest.fixture(scope="module")
def made(smoke, outcomes):
    ran = json.loads((smoke / "run.json").read_text())["settings"]
    return handout.make(outcomes, ran, Rule(), read_types(None))


class Reader(HTMLParser):
    """Follows what opens and closes, and what an element asks for from outside."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.outside, self.problems = [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        asked = [value for name, value in attrs if name in ("src", "href", "action", "data")]
        self.outside += [value for value in asked if not value.startswith("#")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)


@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_the_page_is_whole_and_needs_nothing_from_outside(made, language):
    text = Page(made, language, "2026-01-01").html()
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    assert not reader.problems
    assert not reader.outside
    assert len(reader.ids) == len(set(reader.ids))
    for name in re.findall(r'(?:aria-labelledby|for)="([^"]+)"', text) + re.findall(r'href="#([^"]+)"', text):
        assert name in reader.ids, name
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", text)
    for svg in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        ET.fromstring(svg)
    assert ("谁在跨区就医" in text) == (language != "en")
    assert ("Who is protected" in text) == (language != "zh")
    assert ("Variation of the indices" in text) == (language != "zh")
    assert "fewer than 8 patients" in text or language == "zh"


def in_the_run(made, outcomes):
    """Return the run's number of each published cluster, found by its figures."""
    frame, labels = outcomes["cohort"].frames["visits"], outcomes["fine-tuning"].arrays["labels"]
    ages = made.profile.set_index("variable").loc["age"]
    number = {}
    for cluster in made.clusters:
        (number[cluster.name],) = (
            label
            for label in np.unique(labels)
            if abs((labels == label).sum() - cluster.visits) <= 2.5
            and abs(frame["age"][labels == label].mean() - ages[f"cluster{cluster.name}"]) <= 0.05 + 1e-6
        )
    assert len({*number.values()}) == len(number)
    return number


def test_no_small_group_is_in_the_report(made, outcomes):
    frame, labels = outcomes["cohort"].frames["visits"], outcomes["fine-tuning"].arrays["labels"]
    number = in_the_run(made, outcomes)
    patients = frame["patient"].to_numpy()
    blank = 0
    for row in made.profile.to_dict("records"):
        if row["variable"] not in frame or frame[row["variable"]].dtype.kind == "f":
            continue
        for cluster in made.clusters:
            flag = (labels == number[cluster.name]) & frame[row["variable"]].to_numpy(bool)
            people, cell = len(np.unique(patients[flag])), row[f"cluster{cluster.name}"]
            blank += np.isnan(cell)
            assert np.isnan(cell) or people == 0 or people >= 8, row["variable"]
    assert blank
    shown = made.flows.dropna(subset="visits")
    assert (shown["visits"] % 5 == 0).all()
    assert (shown["visits"] >= 10).all()
    small = made.flows["visits"].isna()
    assert small.any()
    # What is left out is nowhere in the source of the page either.
    text = Page(made, "both", "").html()
    drawn = re.findall(r'data-visits="(\d+)"', text)
    assert drawn
    assert all(int(n) >= 10 and int(n) % 5 == 0 for n in drawn)


def test_shares_say_no_more_than_the_rounded_counts(made):
    sizes = {cluster.name: cluster.visits for cluster in made.clusters}
    shares = made.profile.set_index("variable").loc["share"]
    for name, visits in sizes.items():
        assert shares[f"cluster{name}"] == pytest.approx(100 * visits / made.visits)
    for row in made.profile.query("unit == 'percent' and variable != 'share'").to_dict("records"):
        for name, visits in sizes.items():
            count = row[f"cluster{name}"] * visits / 100
            assert np.isnan(count) or count == pytest.approx(5 * round(count / 5), abs=1e-6)


def stubs(picture):
    return picture.count('class="stub"')


def test_a_picture_of_flows_says_how_much_it_shows_and_has_stubs_for_what_is_left_out_alone(made):
    page = Page(made, "en", "")
    of = {"all": made.visits} | {cluster.name: cluster.visits for cluster in made.clusters}
    for cluster, visits in of.items():
        flows = made.flows.query("cluster == @cluster")
        shares = charts.drawn(flows, visits)
        assert shares == [
            pytest.approx(100 * step["visits"].sum() / visits) for _, step in flows.groupby("step")
        ]
        picture = page._flow(cluster, Caption("one"))
        if not flows["visits"].isna().any():
            assert not stubs(picture)
    flows = pd.DataFrame(
        [("1", 1, "a", "home", 50.0), ("1", 1, "b", "home", 45.0), ("1", 2, "home", "x", np.nan)],
        columns=["cluster", "step", "from_node", "to_node", "visits"],
    )
    # A step of which nothing is told is no step of which all is.
    assert charts.drawn(flows, 100.0) == [95.0, 0.0]
    assert charts.drawn(flows, np.nan) == []
    sizes = [(0, "a", 50.0), (0, "b", 50.0), (1, "home", 100.0), (2, "x", 100.0)]
    nodes = pd.DataFrame(sizes, columns=["step", "node", "visits"])
    same = {name: {"en": name} for name in (*nodes["node"], "0", "1", "2")}
    heads = {step: same[str(step)] for step in range(3)}
    draw = partial(charts.sankey, nodes, labels=same, heads=heads, colors=dict.fromkeys(same, "#000"))
    picture = draw(flows=flows, say=lambda text: Markup(text["en"]), caption=Caption("one"))
    assert stubs(picture) == 2  # beside home and before x; the 5 visits of b are lost in rounding
    told = draw(flows=flows.fillna(95.0), say=lambda text: Markup(text["en"]), caption=Caption("one"))
    assert not stubs(told)


def test_sankeys_equal_the_table(made):
    page, pictured = Page(made, "en", ""), []
    for cluster in ("all", *(one.name for one in made.clusters)):
        picture = page._flow(cluster, Caption("one"))
        pictured += [cluster] if picture else []
        bands = re.findall(r'data-visits="(\d+)" data-from="(\w+)" data-to="(\w+)" data-step="(\d)"', picture)
        drawn = {(int(step), a, b): int(n) for n, a, b, step in bands}
        table = made.flows.query("cluster == @cluster").dropna(subset="visits")
        listed = {(r["step"], r["from_node"], r["to_node"]): r["visits"] for r in table.to_dict("records")}
        assert drawn == listed
    crossing = re.findall(r'data-from="(\w+)" data-to="(\w+)"', page.pictures()["flows_crossing"])
    assert crossing
    assert all("home" not in pair for pair in crossing)
    rows = re.findall(r'<tr data-step="\d">.*?</tr>', page.html(), flags=re.DOTALL)
    assert len(rows) == made.flows["cluster"].isin(pictured).sum()


def test_every_advice_shows_its_figures_and_no_name_is_invented(made):
    page = Page(made, "en", "")
    text = page.html()
    assert any(cluster.care_type for cluster in made.clusters)
    for cluster in made.clusters:
        card = text[text.index(f'id="card-{cluster.name}"') :].split("</article>")[0]
        if cluster.care_type is None:
            assert ("type cannot be told" if cluster.undecided else "no type of the list fits") in card
            assert "Suggestions" not in card
        else:
            assert cluster.care_type.name["en"] in card
            assert card.count("Rests on: ") == len(cluster.care_type.advice)
            assert card.count("Why this name: ") == 1
            for need in cluster.care_type.needs:
                assert page.labels[need.variable]["en"] in card
        assert len(cluster.facts) <= 5
        assert all(abs(fact.effect) >= 0.1 for fact in cluster.facts)


def test_what_is_written(smoke):
    folder = smoke / report.SHARED
    said = json.loads((folder / "run.json").read_text())
    assert said["shareable"] is True
    assert said["rule"] == {"min_patients": 8, "rounding": 5}
    assert json.loads((smoke / "run.json").read_text())["shareable"] == ["report/"]
    for name in said["files"]:
        assert (folder / name).stat().st_size < 5e6
    for name in ("flows", "flows_crossing", "map"):
        svg = (folder / f"{name}.svg").read_text()
        assert ET.fromstring(svg).find("{http://www.w3.org/2000/svg}title").text
        assert "aria-labelledby" not in svg
        width, height = (float(svg.split(f'{side}="')[1].split('"')[0]) for side in ("width", "height"))
        high, wide, _ = plt.imread(folder / f"{name}.png").shape
        assert (wide, high) == (3 * width, 3 * height)
    book = openpyxl.load_workbook(folder / "report.xlsx")
    for name in ("clusters", "profiles", "flows"):
        table = pd.read_csv(folder / f"{name}.csv")
        assert book[name].max_row == len(table) + 1
        assert [cell.value for cell in book[name][1]] == table.columns.tolist()
    assert {one["en"] for one in words()["nodes"].values()} >= {"Home area", "City centre"}


@pytest.mark.long
def test_the_command_writes_it_again_by_other_rules(smoke, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(smoke, run)
    (run / "report" / "of_a_looser_rule.svg").touch()
    (run / "report" / "cover_letter.txt").touch()
    said = json.loads((run / "report" / "run.json").read_text())
    said["files"].append("of_a_looser_rule.svg")
    (run / "report" / "run.json").write_text(json.dumps(said))
    cli.main(["report", str(run), "--lang", "zh", "--min-patients", "20", "--rounding", "10"])
    said = capsys.readouterr().out
    assert "may be handed on" in said
    other = "had other reports (clusters study, 8 patients, rounded to 5): hand on one only"
    assert other in " ".join(said.split())
    assert not (run / "report" / "of_a_looser_rule.svg").exists()
    assert (run / "report" / "cover_letter.txt").exists()
    text = (run / "report" / "report.html").read_text()
    assert "少于 20 名患者" in text
    assert "The clusters" not in text
    assert all(int(n) % 10 == 0 for n in re.findall(r'data-visits="(\d+)"', text))
    # Every rule that there was is remembered, not the last alone.
    had = ["study, 8 patients, rounded to 5", "study, 20 patients, rounded to 10"]
    for flags, mine in (
        (["--lang", "en"], "study, 8 patients, rounded to 5"),
        (["--rounding", "10"], "study, 8 patients, rounded to 10"),
        (["--rounding", "10"], "study, 8 patients, rounded to 10"),
        (["--clusters", "robust"], "robust, 8 patients, rounded to 5"),
        ([], "study, 8 patients, rounded to 5"),
    ):
        cli.main(["report", str(run), *flags])
        others = "; ".join(f"clusters {one}" for one in had if one != mine)
        assert f"had other reports ({others}): hand on" in " ".join(capsys.readouterr().out.split())
        had += [mine] * (mine not in had)
    before = (run / "report" / "report.html").read_bytes()
    cli.main(["report", str(run), "--not-protected"])
    assert "NOT PROTECTED" in capsys.readouterr().out
    page = run / "private" / "report-not-protected" / "report.html"
    assert 'class="banner"' in page.read_text()
    assert (run / "report" / "report.html").read_bytes() == before
    assert {one.suffix for one in page.parent.iterdir() if one.name.startswith("NOT_PROTECTED_")} == {
        ".csv",
        ".png",
        ".svg",
    }
    assert not list(page.parent.glob("[a-z]*.csv"))
    sheet = openpyxl.load_workbook(page.with_suffix(".xlsx"))["flows"]
    assert sheet["A1"].value.startswith("NOT PROTECTED")


@pytest.mark.usefixtures("without_figures")
def test_the_same_run_again_keeps_a_report_unless_its_rule_is_laxer(smoke, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(smoke, run)
    page, rule = run / "report" / "report.html", {"min_patients": 8, "rounding": 5}
    cli.main(["report", str(run), "--lang", "zh", "--min-patients", "20"])
    before = page.read_bytes()
    cli.main([*RUN, "--out", str(run)])
    assert page.read_bytes() == before
    said = " ".join(capsys.readouterr().out.split())
    assert "report/ is of these stages already and kept" in said
    assert "Hand on report/" in said
    page.unlink()
    cli.main([*RUN, "--out", str(run)])  # part of it is gone
    assert page.read_bytes() != before
    for laxer in (["--min-patients", "7"], ["--min-patients", "20", "--rounding", "4"]):
        cli.main(["report", str(run), *laxer])
        cli.main([*RUN, "--out", str(run)])
        assert json.loads((run / "report" / "run.json").read_text())["rule"] == rule


@pytest.mark.usefixtures("without_figures")
def test_a_run_whose_report_cannot_be_made_is_finished(smoke, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(smoke, run)
    (run / "report" / "report.html").unlink()  # so that it is written again
    with monkeypatch.context() as patched:
        patched.setattr(handout, "make", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cli.main([*RUN, "--out", str(run)])
    ran = json.loads((run / "run.json").read_text())
    assert ran["shareable"] == []
    assert "run.json" not in ran["files"]
    cli.main(["report", str(run)])


def test_the_report_of_a_run_asks_for_no_fewer_patients_than_the_run(tmp_path, monkeypatch):
    written = []

    def write(folder, ran, settings):
        written.append(settings.rule(ran["settings"]))
        return folder, []

    monkeypatch.setattr(report, "write", write)
    monkeypatch.setattr(study.Study, "record", lambda _study, name: {"key": name})
    for asked in (20, 3):
        settings = replace(PRESETS["smoke"], min_patients=asked)
        folder = RunFolder(tmp_path)
        study.hand_on(study.Study(settings, folder, Terminal(), study.STAGES, {}), [*study.STAGES])
    assert written == [Rule(20, 5), Rule(8, 5)]


@pytest.mark.usefixtures("without_figures")
def test_the_clusters_that_many_runs_agree_on_have_a_report_too(smoke, outcomes, tmp_path):
    """By the same rule, with what is known of these runs; a map of the latents there is none."""
    run = tmp_path / "run"
    shutil.copytree(smoke, run)
    cli.main(["report", str(run), "--clusters", "robust"])
    text = (run / "report" / "report.html").read_text()
    found, settings = outcomes["robust"], json.loads((run / "run.json").read_text())["settings"]
    made = handout.make(outcomes, settings, Rule(), read_types(None), "robust")
    labels = found.arrays["labels"]
    sizes = sorted(n for n in np.unique(labels, return_counts=True)[1] if n >= 8)
    assert len(made.clusters) + made.left_out == len(np.unique(labels))
    assert all(min(abs(one.visits - n) for n in sizes) <= 5 for one in made.clusters)
    assert f"{found.values['runs']} runs from seeds that share nothing decide together" in text
    assert "Robust clusters:" in text
    assert 'id="map"' not in text
    assert not (run / "report" / "map.png").exists()
    assert json.loads((run / "report" / "run.json").read_text())["settings"]["clusters"] == "robust"
    # The run again, with nothing to do: an analyst wanted these clusters.
    cli.main([*RUN, "--out", str(run)])
    assert (run / "report" / "report.html").read_text() == text


@pytest.mark.parametrize(
    ("agreement", "said"), [(0.31, "Single runs hardly agree"), (0.75, None), (None, "A single run")]
)
def test_runs_that_hardly_agree_are_warned_of(outcomes, smoke, agreement, said):
    found = outcomes["robust"]
    ran = json.loads((smoke / "run.json").read_text())["settings"]
    given = {**outcomes, "robust": replace(found, values=found.values | {"agreement": agreement})}
    text = Page(handout.make(given, ran, Rule(), read_types(None), "robust"), "en", "").html()
    for sentence in ("Single runs hardly agree", "A single run"):
        assert (sentence in text) == (sentence == said)


def test_records_are_counted_where_there_is_no_patient(outcomes, smoke):
    cohort = outcomes["cohort"]
    bare = replace(cohort, frames={"visits": cohort.frames["visits"].drop(columns="patient")})
    ran = json.loads((smoke / "run.json").read_text())["settings"]
    made = handout.make({**outcomes, "cohort": bare}, ran, Rule(), read_types(None))
    assert np.isnan(made.patients)
    text = Page(made, "en", "").html()
    assert "records are counted instead" in text
    assert "fewer than 8 records" in text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["{run}", "--min-patients", "0"], "at least 1"),
        (["{run}", "--min-patients", "1"], "at least 2"),
        (["{stale}"], "of another run than its manifest: profiles"),
        (["{run}", "--types", "{bad}"], "expected a text under zh"),
        (["{run}", "--types", "nowhere.toml"], "cannot be opened"),
        (["{run}", "--font", "{bad}"], "bad.toml: expected a font file"),
        (["{empty}"], "expected the folder of a finished `jvade paper`"),
    ],
)
def test_what_cannot_be_used_stops_with_code_2(smoke, tmp_path, capsys, args, said):
    (tmp_path / "bad.toml").write_text('[[types]]\nname = { en = "A" }\n')
    (tmp_path / "empty").mkdir()
    shutil.copytree(smoke, tmp_path / "stale")
    record = tmp_path / "stale" / "stages" / "profiles.json"
    record.write_text(record.read_text().replace('"key": "', '"key": "0'))
    places = {
        "stale": tmp_path / "stale",
        "run": smoke,
        "bad": tmp_path / "bad.toml",
        "empty": tmp_path / "empty",
    }
    with pytest.raises(SystemExit) as stopped:
        cli.main(["report", *(one.format(**places) for one in args)])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_type_of_ones_own(smoke, tmp_path):
    (tmp_path / "mine.toml").write_text(
        '[[types]]\nname = { en = "Anybody <b>", zh = "任何人" }\n'
        'needs = [{ variable = "age", at_least = 0 }]\n'
        '[[types.advice]]\nen = "Welcome & care"\nzh = "欢迎"\nfigures = ["age"]\n'
    )
    run = tmp_path / "run"
    shutil.copytree(smoke, run)
    settings = ReportSettings(lang="en", types=tmp_path / "mine.toml")
    html, notes = report.write(run, json.loads((run / "run.json").read_text()), settings)
    assert notes == []  # the font has all their letters
    text = html.read_text()
    assert "Anybody &lt;b&gt;" in text
    assert "Welcome &amp; care" in text
    assert "Anybody <b>" not in text


def bare(outcomes, labels, patients=None):
    """Return outcomes of visits, in clusters, that know only age, sex, cost and where they were.

    And, if given, whose they are.
    """
    cohort, kept = outcomes["cohort"], ("age", "female", "cost")
    inputs = [one for one in cohort.values["inputs"] if one["name"] in kept]
    frame = cohort.frames["visits"][[*kept, "cross_district", "row"]].iloc[: len(labels)]
    frame = frame if patients is None else frame.assign(patient=patients)
    values = cohort.values | {"inputs": inputs, "extras": [], "levels": {}}
    tuned = outcomes["fine-tuning"]
    stability = replace(outcomes["stability"], values={"ari_mean": None, "ari_least": None})
    latents = replace(outcomes["latents"], tables={})
    return {
        "cohort": replace(cohort, frames={"visits": frame}, values=values),
        "fine-tuning": replace(tuned, arrays={"labels": labels}),
        "latents": latents,
        "profiles": outcomes["profiles"],
        "stability": stability,
    }


def with_codes(outcomes, **codes):
    """Return outcomes of visits in two clusters that also know these codes: zone, destination, a ward."""
    visits = outcomes["cohort"].frames["visits"]
    labels = 1 + np.random.default_rng(0).integers(0, 2, len(visits))
    given = bare(outcomes, labels, visits["patient"].to_numpy())
    cohort = given["cohort"]
    frame = cohort.frames["visits"].assign(**codes)
    inputs = [Variable(name, name, "residence", "binary") for name in codes if name.startswith("ward")]
    extras = [name for name in codes if not name.startswith("ward")]
    values = {"inputs": [*cohort.values["inputs"], *map(asdict, inputs)], "extras": extras}
    given["cohort"] = replace(cohort, frames={"visits": frame}, values=cohort.values | values)
    return given


@pytest.mark.parametrize("column", ["zone", "destination", "ward"])
def test_a_code_of_few_patients_has_no_name(outcomes, smoke, column):
    visits = outcomes["cohort"].frames["visits"]
    patients, crossed = visits["patient"].to_numpy(), visits["cross_district"].to_numpy(bool)
    few = np.isin(patients, np.unique(patients[crossed])[:4])
    names = ("north", "east", "south")
    places = np.where(few, "SENTINEL", np.array([*names, "west"])[patients % 4])
    if column == "ward":
        codes = {f"ward_{name}": (places == name).astype(np.uint8) for name in ("SENTINEL", *names)}
    else:
        codes = {"zone": "here", column: places}
    ran = json.loads((smoke / "run.json").read_text())["settings"]
    given = with_codes(outcomes, **codes)
    made = handout.make(given, ran, Rule(), read_types(None))
    page = Page(made, "both", "")
    tables = "".join(table.to_csv() for table in sheets(page).values())
    assert "SENTINEL" not in page.html() + tables
    assert any(name in tables for name in names)
    if column != "ward":
        assert "left out" in made.nodes["node"].tolist()
        assert "不予公布" in tables
        for key, (low, high) in attack(made).items():
            assert high - low >= made.rule.min_patients - 1 - 1e-6, key
    for cluster in made.clusters:  # no zero of it decides on a type either
        assert np.isnan([cluster.figures[name].value for name in codes if "SENTINEL" in name]).all()
    # Where nothing is left out, all is there.
    free = Page(handout.make(given, ran, Rule(1, 1), read_types(None)), "en", "")
    assert "SENTINEL" in sheets(free)["flows" if column != "ward" else "profiles"].to_csv()


def test_the_less_common_of_many_places_are_together(outcomes, smoke):
    visits = outcomes["cohort"].frames["visits"]
    rng, ran = np.random.default_rng(0), json.loads((smoke / "run.json").read_text())["settings"]
    n_places = 300
    of_patient = np.minimum(rng.geometric(0.15, 1 + visits["patient"].max()), n_places)
    zones = np.char.add("zone ", of_patient.astype(str))[visits["patient"]].astype(object)
    going = np.char.add("hospital ", rng.integers(0, n_places, len(visits)).astype(str)).astype(object)
    going[rng.random(len(visits)) < 0.1] = None
    made = handout.make(
        with_codes(outcomes, zone=zones, destination=going), ran, Rule(1, 1), read_types(None)
    )
    nodes = made.nodes.query("cluster == 'all'").set_index("node")["visits"]
    crossed = visits["cross_district"].to_numpy(bool)
    counts = pd.Series(zones).value_counts()
    kept = {name: nodes[name] for name in nodes.index if name.startswith("zone")}
    assert kept == counts.head(11).to_dict()
    assert made.nodes.query("cluster == 'all' and step == 1").shape[0] == 1 + 11 + 2
    others = made.nodes.query("cluster == 'all' and node == 'other places'").set_index("step")["visits"]
    assert others[0] == counts.iloc[11:].sum()
    assert others[1] + nodes.filter(like="hospital").sum() + nodes["unknown destination"] == crossed.sum()
    text = Page(made, "both", "").html()
    assert "the others are put together" in text
    assert "其余合并" in text
    few = Page(handout.make(with_codes(outcomes, zone=zones), ran, Rule(), read_types(None)), "both", "")
    assert "the others are put together" in few.html()


@pytest.mark.parametrize(("n_clusters", "n_visits"), [(1, 1500), (2, 1500), (3, 21)])
def test_visits_that_know_little_have_a_report_too(outcomes, smoke, n_clusters, n_visits):
    labels = 1 + np.arange(n_visits) % n_clusters  # of 21 visits, no cluster has enough to be shown
    ran = json.loads((smoke / "run.json").read_text())["settings"]
    made = handout.make(bare(outcomes, labels), ran, Rule(), read_types(None))
    assert len(made.clusters) == (0 if n_clusters > 2 else n_clusters)
    assert made.left_out == n_clusters - len(made.clusters)
    text = Page(made, "both", "").html()
    assert "<svg" not in text
    assert ("clusters are not shown" in text) == (n_clusters > 2)
    assert "whether other seeds find the same clusters is not known" in text
    words_of_it = re.sub("<style.*?</style>|<script.*?</script>", "", text, flags=re.DOTALL).lower().split()
    assert "nan" not in words_of_it
    assert sheets(Page(made, "en", ""))["clusters"].columns.tolist()


def test_a_rate_that_is_left_out_is_not_told_by_the_numbering(outcomes, smoke):
    # Three clusters; in the middle one, by rate, few patients cross.
    frame = outcomes["cohort"].frames["visits"]
    crossed, patients = frame["cross_district"].to_numpy(bool), frame["patient"].to_numpy()
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(len(frame)) < np.where(crossed, 0.9, 0.3), 1, 3)
    labels[(labels == 3) & (patients % 9 == 0)] = 2
    crossers = np.flatnonzero((labels == 2) & crossed)
    labels[crossers[4:]] = 3
    ran = json.loads((smoke / "run.json").read_text())["settings"]
    made = handout.make(bare(outcomes, labels, patients), ran, Rule(), read_types(None))
    assert in_order(made)
    rates = [cluster.figures["cross_district"].value for cluster in made.clusters]
    assert np.isnan(rates).any()
    assert not made.by_rate
    sizes = [cluster.visits for cluster in made.clusters]
    assert sizes == sorted(sizes, reverse=True)
    assert [cluster.name for cluster in made.clusters] == ["1", "2", "3"]
    shares = made.profile.set_index("variable").loc["share"]
    assert [shares[f"cluster{n}"] for n in (1, 2, 3)] == [100 * size / made.visits for size in sizes]
    assert "Numbered by size" in Page(made, "en", "").html()


def in_order(made):
    """Whether all tables list the clusters by their numbers, from 1."""
    names = [cluster.name for cluster in made.clusters]
    tables = {**sheets(Page(made, "en", "")), "nodes": made.nodes}
    tables |= {} if made.traversal is None else {"traversal": made.traversal}
    tables.pop("profiles")
    listed = {name: table["cluster"].astype(str).drop_duplicates().tolist() for name, table in tables.items()}
    assert listed["clusters"] == names
    for one in listed.values():
        assert [name for name in one if name != "all"] == [name for name in names if name in one]
    assert [one for one in made.profile if one.startswith("cluster")] == [f"cluster{n}" for n in names]
    return names == [str(n + 1) for n in range(len(names))]


def test_a_cluster_left_out_is_not_ranked_by_the_numbers(outcomes, smoke):
    # Five patients, all of whose visits cross: what is left would be 2 and 3 by rate.
    frame = outcomes["cohort"].frames["visits"]
    crossed, patients = frame["cross_district"].to_numpy(bool), frame["patient"].to_numpy()
    few = np.isin(patients, np.unique(patients[crossed])[:5]) & crossed
    labels = np.where(few, 1, np.where(np.random.default_rng(0).random(len(frame)) < 0.4, 2, 3))
    ran = json.loads((smoke / "run.json").read_text())["settings"]
    made = handout.make(bare(outcomes, labels, patients), ran, Rule(), read_types(None))
    assert made.left_out
    assert not made.by_rate
    assert in_order(made)
    assert "Numbered by size" in Page(made, "en", "").html()


def test_equal_sizes_are_numbered_by_what_is_published():
    """No draw, and no order of the run: two reports of it agree, and neither tells what is left out."""

    def cluster(name, age):
        figures = {"age": Figure(age, 50.0), "cross_district": Figure(np.nan, 8.0)}
        return Cluster(name, 100.0, 50.0, figures, [], None, False)

    one, two = cluster("1", 60.0), cluster("2", 40.0)
    for given in ([one, two], [two, one]):
        ordered, new = handout._numbered(given, by_rate=False)
        assert [c.figures["age"].value for c in ordered] == [40.0, 60.0]
        assert new == {"2": "1", "1": "2"}


def test_a_type_that_hidden_figures_may_hide_is_not_denied(made):
    cannot = replace(made.clusters[0], care_type=None, undecided=True)
    text = Page(replace(made, clusters=[cannot]), "both", "").html()
    assert "type cannot be told" in text
    assert "无法判定类型" in text
    assert "no type of the list fits" not in text


def test_a_mean_fits_every_count_that_rounds_to_the_published(made, outcomes):
    frame, labels = outcomes["cohort"].frames["visits"], outcomes["fine-tuning"].arrays["labels"]
    row = made.profile.set_index("variable").loc["visits_this_year"]
    number = in_the_run(made, outcomes)
    for cluster in made.clusters:
        mean = row[f"cluster{cluster.name}"]
        if np.isnan(mean):
            continue
        exact = frame["visits_this_year"].to_numpy(float)[labels == number[cluster.name]].mean()
        wide = 0.05 if cluster.visits >= 20 else 0.5
        assert abs(mean - exact) <= wide + 1e-6
        for n in range(int(cluster.visits) - 2, int(cluster.visits) + 3):
            assert abs(round(mean * n) / n - mean) <= wide + 1e-9


def test_a_mean_that_is_left_out_cannot_be_made_of_the_others(outcomes, smoke):
    """From the mean of all visits, times how many know the number, those of the other clusters are taken."""
    visits = outcomes["cohort"].frames["visits"]
    patients, rng = visits["patient"].to_numpy(), np.random.default_rng(0)
    labels = 1 + rng.integers(0, 4, len(visits))
    few = np.isin(patients, np.unique(patients[labels == 2])[:4])
    known = np.where(labels == 2, few, rng.random(len(visits)) < 0.7)
    cost = np.where(known, visits["cost"].to_numpy(), np.nan)

    def reported(cost):
        given = bare(outcomes, labels, patients)
        frame = given["cohort"].frames["visits"].assign(cost=cost.astype(np.float32))
        given["cohort"] = replace(given["cohort"], frames={"visits": frame})
        ran = json.loads((smoke / "run.json").read_text())["settings"]
        return handout.make(given, ran, Rule(), read_types(None))

    made = reported(cost)
    row = made.profile.set_index("variable").loc["cost"]
    cells = np.array([row[f"cluster{one.name}"] for one in made.clusters], float)
    # As of counts: where one is left out another is, or that of all visits is.
    assert len(cells) == 4
    assert np.isnan(cells).sum() > 1 or (np.isnan(cells).any() and np.isnan(row["overall"]))
    assert not np.isnan(cells).all()
    # Where no visit has a cost, nothing is told and nothing breaks.
    made = reported(np.full(len(visits), np.nan))
    row = made.profile.set_index("variable").loc["cost"]
    assert row[[f"cluster{one.name}" for one in made.clusters]].isna().all()
    text = re.sub("<style.*?</style>|<script.*?</script>", "", Page(made, "en", "").html(), flags=re.DOTALL)
    assert "nan" not in re.sub("<[^>]*>", " ", text).lower().split()


def test_clusters_alike_in_all_that_is_published_are_not_in_the_order_of_the_run(
    outcomes, smoke, monkeypatch
):
    """That is the order of their exact rates; equals keep the order in which `_numbered` is given them."""
    frame = outcomes["cohort"].frames["visits"]
    ran = json.loads((smoke / "run.json").read_text())["settings"]
    seen, numbered = [], handout._numbered

    def look(clusters, by_rate):
        seen.append(tuple(one.name for one in clusters))
        return numbered(clusters, by_rate)

    monkeypatch.setattr(handout, "_numbered", look)
    for shift in (*range(6), 0):
        labels = 1 + (np.arange(len(frame)) + shift) % 3
        handout.make(bare(outcomes, labels, frame["patient"].to_numpy()), ran, Rule(), [])
    assert len(set(seen)) > 1
    assert seen[0] == seen[-1]  # the same run, the same report
    alike = [
        Cluster(name, 100.0, 50.0, {"cross_district": Figure(np.nan, 8.0)}, [], None, False) for name in "21"
    ]
    assert numbered(alike, by_rate=False)[1] == {"2": "1", "1": "2"}


def test_flags_that_say_the_same_are_protected_once(outcomes):
    table = visit_table(outcomes["cohort"])
    first = table.frame["days_since_last_visit"].isna()
    flag = Variable("first_visit", "First visit", "visit", "binary")
    table = replace(table, frame=table.frame.assign(first_visit=first), inputs=(*table.inputs, flag))
    counted = handout.Tables(table, outcomes["fine-tuning"].arrays["labels"])
    dimension, value = counted.of["days_since_last_visit"]
    assert counted.of["first_visit"] == (dimension, "no" if value == "yes" else "yes")
    assert ("cluster", "first_visit") not in counted.families


def attack(made):
    """Return the least and the most visits that every cell left out could have, of a whole report.

    What is known is what stands in the report: counts and how they were rounded, shares of them, flows and
    nodes; that flows add up to nodes, nodes to clusters, and clusters, with those left out, to all visits.
    """
    cells, sums = {}, []

    def cell(key, shown):
        """Add a cell, by how many visits it is published with."""
        if np.isnan(shown):
            cells.setdefault(key, (1, np.inf))
        else:
            could = [
                n for n in range(max(0, int(shown) - 5), int(shown) + 6) if made.rule.rounded(n) == shown
            ]
            cells[key] = (could[0], could[-1])
        return key

    visits = {"all": made.visits, **{one.name: one.visits for one in made.clusters}}
    for name, shown in visits.items():
        cell((name,), shown)
    shares = made.profile.loc[
        made.profile["unit"].str.startswith("percent") & (made.profile["variable"] != "share")
    ]
    for row in shares.to_dict("records"):
        for name, whole in visits.items():
            share = row["overall" if name == "all" else f"cluster{name}"]
            if row["group"] == "destination":
                crossed = shares.set_index("variable").loc["cross_district"]
                whole = whole * crossed["overall" if name == "all" else f"cluster{name}"] / 100
                if np.isnan(whole):
                    continue  # a share of what is left out tells nothing; the nodes do, if there are any
            shown = share * whole / 100
            cell((name, row["variable"]), shown if np.isnan(shown) else round(shown))
    for row in made.nodes.to_dict("records"):
        node = "cross" + row["node"] if row["node"] in ("unknown", "none") else row["node"]
        cell((row["cluster"], node), row["visits"])
    for row in made.flows.to_dict("records"):
        cell((row["cluster"], row["from_node"], row["to_node"], row["step"]), row["visits"])

    for name in visits:
        nodes = made.nodes.query("cluster == @name")
        for step, level in nodes.groupby("step"):
            sums.append(((name,), [(name, node) for node in level["node"]]))
            flows = made.flows.query("cluster == @name")
            for node in level["node"]:
                for side, at in (("to_node", step), ("from_node", step + 1)):
                    parts = flows.loc[(flows["step"] == at) & (flows[side] == node)]
                    keys = [(name, r["from_node"], r["to_node"], r["step"]) for r in parts.to_dict("records")]
                    if keys:
                        sums.append(((name, node), keys))
        crossing = nodes.loc[(nodes["step"] == 1) & (nodes["node"] != "home"), "node"]
        sums.append(((name, "cross_district"), [(name, node) for node in crossing]))
    for key in [key for key in cells if key[0] == "all"]:
        parts = [(name, *key[1:]) for name in visits if name != "all"]
        rest = [("rest", *key[1:])] if made.left_out else []
        for one in rest:
            cells[one] = (0, np.inf)
        sums.append((key, [part for part in parts if part in cells] + rest))

    place = {key: i for i, key in enumerate(cells)}
    system = lil_array((len(sums), len(cells)))
    for line, (total, parts) in enumerate(sums):
        system[line, place[total]] -= 1
        for part in parts:
            system[line, place[part]] += 1
    found = {}
    for key, (low, high) in cells.items():
        if (low, high) == (1, np.inf):
            target = np.zeros(len(cells))
            target[place[key]] = 1
            ends = [
                linprog(
                    sign * target, A_eq=system.tocsr(), b_eq=np.zeros(len(sums)), bounds=[*cells.values()]
                )
                for sign in (1, -1)
            ]
            assert {one.status for one in ends} <= {0, 3}, key  # solved, or without bound
            found[key] = ends[0].fun, np.inf if ends[1].status == 3 else -ends[1].fun
    return found


def test_nobody_who_has_the_whole_report_can_tell_what_it_leaves_out(made):
    found = attack(made)
    assert len(found) > 20
    for key, (low, high) in found.items():
        assert high - low >= made.rule.min_patients - 1 - 1e-6, key


@pytest.mark.parametrize(
    ("name", "label", "said"),
    [
        ("subdistrict_03", "Sub-district 3", ("Sub-district 3", "街镇3")),
        ("subdistrict_03", "Sub-district: 03", ("Sub-district 3", "街镇3")),
        ("subdistrict_10", "Sub-district: 10", ("Sub-district 10", "街镇10")),
        ("subdistrict_10", "Sub-district: 东街道", ("Sub-district: 东街道", "街镇 东街道")),
        ("subdistrict_1", "Sub-district: 东街道", ("Sub-district: 东街道", "街镇 东街道")),
        ("beds", "Beds", ("Beds", "Beds")),
    ],
)
def test_a_place_of_ones_own_keeps_its_name_in_both_languages(name, label, said):
    known = {f"subdistrict_{i:02}": {"en": f"Sub-district {i}", "zh": f"街镇{i}"} for i in (3, 10)}
    assert tuple(page._named(known.get(name), label, name).values()) == said
