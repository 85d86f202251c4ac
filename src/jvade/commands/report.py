"""What `jvade report` does: a finished run in, what may be handed on of it out."""

import json
from pathlib import Path

from jvade.data.errors import InputError
from jvade.paper import report
from jvade.paper.report import ReportSettings
from jvade.report.folder import MANIFEST
from jvade.report.terminal import Terminal


def run(run_folder: Path, settings: ReportSettings, terminal: Terminal) -> None:
    """Write the report of a finished run, and say where it is.

    Raises:
        InputError: the folder is no finished run of the study, or a setting cannot be used.
    """
    try:
        ran = json.loads((run_folder / MANIFEST).read_text(encoding="utf-8"))
        if not {"preset", "visits", "model", "min_patients"} <= ran["settings"].keys():
            raise KeyError
    except (OSError, ValueError, KeyError, TypeError):
        advice = f"expected the folder of a finished `jvade paper`, with its {MANIFEST}"
        raise InputError([advice], run_folder.name) from None
    rule = settings.rule(ran["settings"])
    warning = "" if settings.not_protected else report.other_reports(run_folder, settings.clusters, rule)
    with terminal.step("report"):
        page, notes = report.write(run_folder, ran, settings)
    what = "NOT PROTECTED, not to be passed on" if settings.not_protected else "may be handed on"
    terminal.say(f"{page}: {what}")
    for line in filter(None, [warning, *notes]):
        terminal.say(f"  {line}", "yellow")
