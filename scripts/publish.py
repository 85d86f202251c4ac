"""Put the results page of a finished run under docs/, with its figures.

python scripts/publish.py results/full --machine "2 cores of ..."
"""

import argparse
import json
import re
import shutil
from pathlib import Path

from PIL import Image

FIGURE = re.compile(r"(!\[[^\]]*\]\()([\w-]+\.png)\)")


def publish(run: Path, machine: str, docs: Path) -> Path:
    """Copy page and figures of a run: aggregates only, nothing of its private folder.

    Args:
        run: folder of the run.
        machine: what it ran on, in words.
        docs: gets `results.md` and the folder `results` of figures, in place of older ones.

    Raises:
        ValueError: the run lacks stages, or is of a person's own visits.
    """
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    settings = manifest["settings"]
    if not manifest.get("complete"):
        raise ValueError(f"{run} has not all stages; run the command again without --only")
    if settings["visits"] is not None:
        raise ValueError(f"{run} is of real visits; only results of the simulated district are published")
    title, rest = (run / "paper.md").read_text(encoding="utf-8").split("\n", 1)
    # 256 colours: a third of the size, for a repository that keeps every version.
    drawn = {name: Image.open(run / name).convert("RGB").quantize(256) for _, name in FIGURE.findall(rest)}
    figures = docs / "results"
    shutil.rmtree(figures, ignore_errors=True)
    figures.mkdir(parents=True)
    for name, picture in drawn.items():
        picture.save(figures / name, optimize=True)
    made = (
        f"Made by `scripts/paper.py --preset {settings['preset']}` on {machine}, last run"
        f" {manifest['began'][:10]}; [seconds of each stage](#time)."
    )
    text = "\n\n".join([title, made, FIGURE.sub(r"\1results/\2)", rest).strip()]) + "\n"
    page = docs / "results.md"
    page.write_text(text, encoding="utf-8")
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=publish.__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--machine", required=True, help="what it ran on, in words")
    parser.add_argument("--docs", type=Path, default=Path(__file__).parents[1] / "docs")
    options = parser.parse_args()
    print(publish(options.run, options.machine, options.docs))
