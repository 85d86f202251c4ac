"""The study from end to end: stages in order, what is kept of earlier runs, figures, page, manifest."""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from jvade import manifest
from jvade.checkpoints import PRIVATE
from jvade.data.source import check_out
from jvade.paper import handout, page, report
from jvade.paper.report import SHARED, ReportSettings
from jvade.paper.settings import PaperSettings
from jvade.paper.stage import RECORDS, Stage, Study
from jvade.paper.stages import (
    cohort,
    comparison,
    grid,
    latents,
    profiles,
    readings,
    robust,
    stability,
    training,
)
from jvade.report.figures.style import missing_letters
from jvade.report.folder import MANIFEST, RunFolder
from jvade.report.terminal import Terminal

__all__ = ["STAGES", "run", "stages_for"]

#: In the order of the study; each after those it needs.
STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        cohort.STAGE,
        training.PRETRAINING,
        grid.GRID,
        grid.SENSITIVITY,
        grid.NUMBER_OF_CLUSTERS,
        training.FINE_TUNING,
        latents.STAGE,
        robust.STAGE,
        comparison.STAGE,
        stability.STAGE,
        profiles.STAGE,
        readings.STAGE,
    )
}

NOTE = """This folder holds a row for every visit: visits.parquet (the inputs), labels.parquet (row of the
visit in your file, its cluster, how sure the model is of it), robust_labels.parquet (the same by our own
configuration) and arrays of the models. It is for the analyst
who ran the study and must not be passed on. The folder report/ may be handed on: it has passed the
disclosure rule. The other tables and figures of the run are aggregates for the analyst: where few patients
are behind a number it is blank, but counts are not rounded.
"""


def stages_for(only: Iterable[str]) -> list[str]:
    """Return the stages that bring these up to date, in order: themselves and all they need."""
    wanted: set[str] = set()

    def want(name: str) -> None:
        wanted.add(name)
        for need in STAGES[name].needs:
            want(need)

    for name in only or STAGES:
        want(name)
    return [name for name in STAGES if name in wanted]


def run(settings: PaperSettings, terminal: Terminal) -> RunFolder:
    """Bring every stage up to date, and write its tables, figures, the results page and the manifest.

    Raises:
        InputError: the visits or the mapping cannot be used; nothing was written.
        TrainingError: the training went non-finite; finished stages are kept.
    """
    check_out(settings.visits, settings.folder)
    began, clock = datetime.now(UTC), time.perf_counter()
    source = cohort.describe_source(settings)
    study = Study(settings, RunFolder(settings.folder), terminal, STAGES, source)
    names = stages_for(settings.only)
    kept = sum(study.record(name) is not None for name in names) if settings.resume else 0
    if kept:
        terminal.say(
            f"{kept} of {len(names)} stages are finished already and kept; --no-resume computes them again"
        )
    try:
        for name in names:
            # The first of all: what is finished is forgotten once the visits have been read, and not before.
            study.bring_up_to_date(name, anew=name == "cohort" and not settings.resume)
            if name == "cohort":  # which an earlier run may have kept for settings that ask for fewer
                settings.check_size(study.outcome("cohort").values["n_visits"])
    except KeyboardInterrupt:
        done = sum(study.record(name) is not None for name in names)
        terminal.say(
            f"stopped; {done} of {len(names)} stages are finished in {settings.folder}. The same command"
            + ("" if settings.resume else ", without --no-resume,")
            + " goes on."
        )
        raise
    study.folder.text(f"{PRIVATE}/README.txt", NOTE)
    current = [name for name in STAGES if study.record(name) is not None]
    with terminal.step("figures"), missing_letters() as missing:
        drawn = {name: list(draw(study, name)) for name in current}
    if missing:
        what = "names with letters that no font has are boxes in the figures; install one that has them"
        cache = "and remove matplotlib's list of fonts, in the folder that matplotlib.get_cachedir() names"
        terminal.say(f"  warning: {what}, such as Noto Sans CJK, {cache}", "yellow")
    with terminal.step("results page"):
        page.write(study, current, drawn)
    finish(study, current, began, clock)  # first, so that a report that cannot be made spoils no run
    if hand_on(study, current):
        finish(study, current, began, clock, [f"{SHARED}/"])
        handed_on = f"Hand on {SHARED}/; the rest is for you."
    else:
        stale = (settings.folder / SHARED).is_dir()
        handed_on = f"{SHARED}/ is of an earlier run and not of this one." if stale else ""
    page.summarise(study, current)
    memory = manifest.peak_memory_gb()
    terminal.say(
        f"\nStart with {settings.folder / 'paper.html'}; {time.perf_counter() - clock:.0f} s"
        + ("" if memory is None else f", {memory:.1f} GB at the most")
        + f". {handed_on}".rstrip()
    )
    return study.folder


def hand_on(study: Study, current: Sequence[str]) -> bool:
    """Write the report, by a rule that asks for no fewer patients than the run; return whether there is one.

    One of the current stages that somebody made by other settings stays, if its rule is as strict.
    """
    root, terminal = study.folder.path, study.terminal
    stages = {name: study.record(name) or {} for name in current}
    ran = {"settings": manifest.plain(study.settings), "stages": stages}
    settings, can_be = ReportSettings(), set(handout.STAGES["study"]) <= set(current)
    asked, made = settings.rule(ran["settings"]), report.current(root, stages)
    strict = made and all(made["rule"][name] >= least for name, least in manifest.plain(asked).items())
    if strict and (not can_be or made["settings"] != manifest.plain(settings)):
        terminal.say(f"{SHARED}/ is of these stages already and kept; `jvade report` writes it again")
        return True
    if not can_be:
        return False
    warning = report.other_reports(root, settings.clusters, asked)
    with terminal.step("report"):
        notes = report.write(root, ran, settings)[1]
    for line in filter(None, [warning, *notes]):
        terminal.say(f"  {line}", "yellow")
    return True


def draw(study: Study, name: str) -> Iterable[str]:
    """Draw the figures of a stage; yield their names."""
    for title, figure in STAGES[name].draw(study, study.outcome(name)).items():
        study.folder.figure(title, figure)
        yield title


def finish(
    study: Study, current: list[str], began: datetime, clock: float, shareable: Sequence[str] = ()
) -> None:
    """Write the manifest: from here on the folder is a finished run of the stages it names."""
    records = {name: study.record(name) or {} for name in current}
    root = study.folder.path
    beside = [*(root / RECORDS).glob("*.jsonl"), *root.glob(report.RULES)]
    files = sorted(
        {file for record in records.values() for file in record["files"]}
        | {*study.folder.written, *(path.relative_to(root).as_posix() for path in beside)} - {MANIFEST}
    )
    values = study.outcome("cohort").values
    # Of the stages, which an earlier process may have run, and of what comes after them here.
    peaks = [*(record["peak_memory_gb"] for record in records.values()), manifest.peak_memory_gb()]
    study.folder.finish(
        {
            "jvade": manifest.versions()["jvade"],
            "began": began.isoformat(timespec="seconds"),
            "seconds": (
                {name: record["seconds"] for name, record in records.items()}
                | {"this run": round(time.perf_counter() - clock, 2)}
            ),
            "complete": list(STAGES) == current,
            "peak_memory_gb": max((peak for peak in peaks if peak is not None), default=None),
            "device": manifest.device(),
            "versions": manifest.versions(),
            "seed": study.settings.seed,
            "settings": manifest.plain(study.settings),
            "input": dict(study.source),
            "account": values["account"],
            "epochs": {
                name: records[name]["values"]["epochs"]
                for name in ("pretraining", "fine-tuning")
                if name in records
            },
            "stages": {name: _short(record) for name, record in records.items()},
            "warnings": [
                f"{name}: {text}" for name, record in records.items() for text in record["warnings"]
            ],
            "shareable": list(shareable),
            "private": [file for file in files if file.startswith(PRIVATE)],
        },
        [file for file in files if not file.startswith(PRIVATE)],
    )


def _short(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("part", "key", "began", "seconds", "peak_memory_gb")}
