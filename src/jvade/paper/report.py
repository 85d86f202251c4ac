"""The report of a finished run: what may be handed on of it, as one file of HTML and tables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from jvade import atomic, manifest
from jvade.analysis import types
from jvade.analysis.disclosure import Rule
from jvade.data import published
from jvade.data.errors import InputError
from jvade.paper.stage import read_outcome, read_record
from jvade.report.folder import MANIFEST, RunFolder
from jvade.report.handout.content import Whose
from jvade.report.handout.export import png, undrawn
from jvade.report.handout.page import Language, Page, sheets

#: Folder of the report within its run, and where one that is not protected goes.
SHARED, UNPROTECTED = "report", "private/report-not-protected"
#: The rules of all reports of a run so far.
RULES = "private/report_rules.json"
#: Most rows of a sheet of Excel.
EXCEL_ROWS = 1_048_575


@dataclass(frozen=True)
class ReportSettings:
    """Write what may be handed on of a run: a report in one file of HTML, and its tables.

    Args:
        clusters: "study", those of its two-stage VaDE, or "robust", what many runs agree on: another seed
            finds nearly the same.
        lang: "en", "zh", or "both" with a switch.
        types: TOML file of the types of care-seeking and their advice; those of the study if not given.
        font: font file (TTF, OTF) with Chinese letters: the pictures that have files of their own (PNG, SVG)
            are then in Chinese, unless --lang is en; without it they are in English.
        min_patients: numbers with fewer patients behind them are left out; if not given, as the run has it,
            and at least 8.
        rounding: counts are rounded to a multiple of it.
        not_protected: leave nothing out and round nothing. Every page says so, and it goes to
            RUN/private/report-not-protected.
    """

    clusters: Whose = "study"
    lang: Language = "both"
    types: Path | None = None
    font: Path | None = None
    min_patients: int | None = None
    rounding: int = Rule.rounding
    not_protected: bool = False

    def rule(self, ran: Mapping[str, Any]) -> Rule:
        """Return the rule of disclosure.

        Args:
            ran: settings of the run.

        Raises:
            InputError: what was expected, and what came.
        """
        try:
            if not self.not_protected and self.min_patients == 1:
                raise ValueError(
                    "--min-patients: expected at least 2, got 1; --not-protected leaves nothing out"
                )
            least = max(ran["min_patients"], Rule.min_patients)
            asked = least if self.min_patients is None else self.min_patients
            return Rule(1, 1) if self.not_protected else Rule(asked, self.rounding)
        except ValueError as error:
            raise InputError([str(error)], "settings") from None


def read_types(path: Path | None) -> list[types.CareType]:
    """Return the types of a file, those of the study if there is none.

    Raises:
        InputError: what is wrong with the file.
    """
    name = "types.toml" if path is None else path.name
    try:
        text = published.types() if path is None else path.read_text(encoding="utf-8")
        return types.read(text)
    except types.TypesError as error:
        raise InputError(error.problems, name) from None
    except UnicodeDecodeError:
        raise InputError(["this is no text in UTF-8"], name) from None
    except OSError:
        raise InputError(["the file cannot be opened; check the path"], name) from None


def other_reports(run_folder: Path, whose: Whose, rule: Rule) -> str:
    """Return what to be warned of if a run had reports by another rule, or of other clusters; else ""."""
    others = [one for one in _reports(run_folder) if one != (whose, rule)]
    if not others:
        return ""
    each = "; ".join(
        f"clusters {of}, {by.min_patients} patients, rounded to {by.rounding}" for of, by in others
    )
    advice = "hand on one only, for together they tell what each leaves out"
    return f"warning: this run had other reports ({each}): {advice}"


def _reports(run_folder: Path) -> list[tuple[Whose, Rule]]:
    """Return whose clusters the reports had that were made of a run so far, and by which rule."""
    try:
        raw = json.loads((run_folder / RULES).read_text(encoding="utf-8"))
        return [(one.pop("clusters", "study"), Rule(**one)) for one in raw]
    except (OSError, ValueError, TypeError, AttributeError):
        return []


def current(run_folder: Path, stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the manifest of the report that a run has, if it is whole and of these stages; else nothing."""
    folder, keys = run_folder / SHARED, {name: record["key"] for name, record in stages.items()}
    made = _made(folder)
    of = made.get("run") or {"": None}
    whole = of.items() <= keys.items() and all((folder / name).is_file() for name in made["files"])
    return made if whole else {}


def _made(folder: Path) -> dict[str, Any]:
    """Return the manifest of a report; empty if there is none to be read."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write(run_folder: Path, ran: Mapping[str, Any], settings: ReportSettings) -> tuple[Path, list[str]]:
    """Write page, tables, pictures and manifest; return the page, and what to be warned of.

    Args:
        run_folder: of the run.
        ran: settings of the run, and the keys of its stages, as its manifest has them.
        settings: of the report.

    Raises:
        InputError: a stage that the report needs was not run, or a setting cannot be used.
    """
    from jvade.paper import handout  # matplotlib comes with it, which takes a second to load

    began, files = datetime.now(UTC), {"types": settings.types, "font": settings.font}
    rule, care_types = settings.rule(ran["settings"]), read_types(settings.types)
    whose = settings.clusters
    records = {name: read_record(run_folder, name) for name in handout.STAGES[whose]}
    if missing := [name for name, record in records.items() if record is None]:
        raise InputError(
            [f"not run: {', '.join(missing)}; run `jvade paper` without --only"], run_folder.name
        )
    keys = ran.get("stages", {})
    stale = [name for name, one in records.items() if one and keys.get(name, {}).get("key") != one["key"]]
    if stale:
        advice = f"of another run than its manifest: {', '.join(stale)}; run `jvade paper` again"
        raise InputError([advice], run_folder.name)
    outcomes = {name: read_outcome(run_folder, record) for name, record in records.items() if record}
    if whose == "study":
        hexagons = outcomes["latents"].tables.get("latent_map", {"cluster_patients": 0})
        if "cluster_patients" not in hexagons or "converged" not in outcomes["fine-tuning"].values:
            raise InputError(["of an earlier version; run `jvade paper` again"], run_folder.name)
    made = handout.make(outcomes, ran["settings"], rule, care_types, whose)
    page = Page(made, settings.lang, date.today().isoformat())
    # A file may be opened where no reader chooses the language, and no browser the font.
    language = "zh" if settings.font and settings.lang != "en" else "en"
    pictures = Page(made, language, page.made).pictures()
    drawn = {name: str(one) for name, one in pictures.items() if one}
    try:
        pixels = {name: png(svg, settings.font) for name, svg in drawn.items()}
    except ValueError as error:
        raise InputError([str(error)], "settings") from None
    if not settings.not_protected:  # before a page of it can be handed on
        each = dict.fromkeys([*_reports(run_folder), (whose, rule)])
        text = json.dumps([{"clusters": of} | manifest.plain(by) for of, by in each])
        atomic.write(run_folder / RULES, lambda path: path.write_text(text, encoding="utf-8"))
    folder = RunFolder(run_folder / (UNPROTECTED if settings.not_protected else SHARED))
    tables, mark = sheets(page), "NOT_PROTECTED_" if settings.not_protected else ""
    # What an earlier report wrote, by another rule, or may have before it was stopped; and nothing else.
    earlier = [f"{mark}{name}.{kind}" for name in pictures for kind in ("svg", "png")]
    for name in (*earlier, *_made(folder.path).get("files", [])):
        (folder.path / name).unlink(missing_ok=True)
    for path in folder.path.glob(".unfinished-*"):  # of a process that was killed
        path.unlink()
    folder.begin()
    notes: list[str] = []
    html = folder.text("report.html", page.html())
    for name, table in tables.items():
        folder.table(f"{mark}{name}", table)
    folder.file("report.xlsx", lambda path: _excel(path, tables, settings.not_protected))
    for name, picture in drawn.items():
        folder.text(f"{mark}{name}.svg", picture)
        folder.file(f"{mark}{name}.png", partial(Path.write_bytes, data=pixels[name]))
    if settings.font is None and undrawn(drawn.values()):
        notes.append(
            "warning: some names are boxes in the PNG pictures; give a font that has their letters: --font"
        )
    folder.finish(
        {
            "jvade": manifest.versions()["jvade"],
            "began": began.isoformat(timespec="seconds"),
            "versions": manifest.versions(),
            "shareable": not settings.not_protected,
            "rule": manifest.plain(rule),
            # Without the folders of whoever wrote it.
            "settings": manifest.plain(settings) | {name: path and path.name for name, path in files.items()},
            "run": {name: record["key"] for name, record in records.items() if record},
            "types": manifest.key(types=[manifest.plain(one) for one in care_types]),
        }
    )
    return html, notes


def _excel(path: Path, tables: dict[str, pd.DataFrame], not_protected: bool) -> None:
    with path.open("wb") as file, pd.ExcelWriter(file, engine="openpyxl") as book:
        for name, table in tables.items():
            table.head(EXCEL_ROWS).to_excel(book, sheet_name=name, index=False, startrow=int(not_protected))
            sheet = book.sheets[name]
            sheet.freeze_panes = "A3" if not_protected else "A2"
            if not_protected:
                sheet["A1"] = "NOT PROTECTED: for the analyst alone, not to be passed on"
