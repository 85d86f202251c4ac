"""Write the tables of `benchmarks/README.md` from the files under `results/`, each between its two marks.

    .venv/bin/python benchmarks/readme.py            # --check: only say whether they are as the files say

A table's marks are `<!-- NAME -->` and `<!-- end of NAME -->`; a name whose file is not there stays as it is.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], texts: int = 1) -> str:
    """Return a Markdown table; the first columns are texts, the others numbers."""
    rule = [":--" if i < texts else "--:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (header, rule, *rows))


def seconds(one: dict[str, float]) -> str:
    """Return a median with least and most."""
    digits = 2 if one["median"] < 100 else 0
    median, least, most = (f"{one[name]:,.{digits}f}" for name in ("median", "least", "most"))
    return f"{median} ({least} to {most})"


def throughput(found: dict[str, Any]) -> str:
    """Return a table of every program."""
    ours = {
        (one["stage"], one["lanes"]): one["seconds"]["median"]
        for one in found["results"]
        if one["program"] == "jvade"
    }
    rows = [
        (
            one["stage"],
            one["lanes"],
            one["program"],
            one["epochs"],
            seconds(one["seconds"]),
            f"{one['seconds']['median'] / ours[one['stage'], one['lanes']]:.1f}",
            f"{one['rows_x_lanes_per_second'] / 1e6:.2f}",
            f"{one['share_of_matrix_product']:.2f}",
            f"{one['first_call_seconds']:.1f}",
            f"{one['peak_memory_gb']:.1f}",
            "{:.2f} ± {:.2f}".format(*one["loss"]),
        )
        for one in found["results"]
    ]
    rate = found["matrix_product_gflops"]
    worst = {kind: max(one[kind] for one in found["agreement"].values()) for kind in ("float64", "float32")}
    header = (
        "stage",
        "lanes",
        "program",
        "epochs",
        "seconds (least to most)",
        "times ours",
        "million rows x lanes a second",
        "share of the matrix product",
        "first call, s",
        "peak memory, GB",
        "loss, mean ± sd of the lanes of 2 latents",
    )
    return (
        f"Float32 matrix product in the same run: {rate['median']:.0f} GFLOP/s ({rate['least']:.0f} to "
        f"{rate['most']:.0f}). Largest relative difference of loss and gradients between PyTorch's model "
        f"and ours, before anything was timed: {worst['float64']:.0e} in double, "
        f"{worst['float32']:.0e} in single precision.\n\n{table(header, rows, 3)}"
    )


def em(found: dict[str, Any]) -> str:
    """Return both sides, and by how much they differ."""
    options, both = found["options"], found["seconds"]
    rows = [(name, seconds(one)) for name, one in both.items()]
    clusters = options["clusters"]
    return (
        f"{len(clusters)} numbers of clusters from {min(clusters)} to {max(clusters)}, "
        f"{options['restarts']} restarts of each, {options['rows']:,} x {options['latents']}: "
        f"**{found['times_as_fast']:.1f} times as fast**; compilation {found['compile_seconds']:.1f} s; "
        f"mean log-likelihoods differ by {found['largest_difference_in_mean_log_likelihood']:.0e} at the "
        f"most.\n\n{table(('', 'seconds'), rows)}"
    )


def growth(found: dict[str, Any]) -> str:
    """Return a table of each thing that grows, one below the other."""
    names = {"rows": "visits", "lanes": "lanes", "n_clusters": "clusters", "latent_dim": "latents"}
    rows = [
        (
            names[kind],
            f"{one[kind]:,}",
            seconds(one["seconds"]),
            f"{one['times_first']:.2f}",
            f"{one['peak_memory_gb']:.1f}",
        )
        for kind, lines in found["growth"].items()
        for one in lines
    ]
    return table(("what grows", "to", "seconds", "times the first", "peak memory, GB"), rows)


def sweep(found: dict[str, Any]) -> str:
    """Return a table of the programs."""
    rows = [
        (
            one["program"],
            seconds(one["seconds"]),
            f"{one['times_ours']:.1f}",
            f"{one['first_call_seconds']:.1f}",
            f"{min(one['losses']):.2f} to {max(one['losses']):.2f}",
        )
        for one in found["results"]
    ]
    return table(
        ("program", "seconds", "times ours", "first call, s", "losses of the settings"),
        rows,
    )


def stages(found: dict[str, Any]) -> str:
    """Return a table of the stages, and the memory."""
    rows = [(name, seconds(one)) for name, one in found["seconds"].items()]
    memory = found["peak_memory_gb"]
    return f"Peak memory {memory['median']:.1f} GB.\n\n{table(('stage', 'seconds'), rows)}"


def distances(found: dict[str, Any]) -> str:
    """Return a table of both sides by number of columns."""
    rows = [
        (
            one["columns"],
            seconds(one["ours"]),
            seconds(one["scipy"]),
            f"{one['scipy']['median'] / one['ours']['median']:.1f}",
        )
        for one in found["seconds"]
    ]
    return table(("columns", "ours, s", "SciPy's, s", "times ours"), rows, 0)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    one.__name__: one for one in (throughput, em, growth, sweep, stages, distances)
}


def fill(text: str, results: Path) -> str:
    """Return the text with every table as the files say."""
    for name, make in TABLES.items():
        path = results / f"{name}.json"
        if not path.exists():
            continue
        body = make(json.loads(path.read_text(encoding="utf-8")))
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        if not marks.search(text):
            raise ValueError(f"expected the marks <!-- {name} --> and <!-- end of {name} -->, found none")
        text = marks.sub(lambda found, body=body: f"{found[1]}\n{body}\n\n{found[2]}", text)
    return text


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="Tables of the benchmarks' README.")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    page = HERE / "README.md"
    old = page.read_text(encoding="utf-8")
    new = fill(old, HERE / "results")
    if options.check and new != old:
        raise SystemExit("benchmarks/README.md is not as its results say: run benchmarks/readme.py")
    if not options.check:
        page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
