"""Which wing may import what: read from the source, so that an import inside a function counts too."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"

#: Beside the standard library, anywhere.
ANYWHERE = {"numpy", "jaxtyping"}
#: Wing: (packages it may import, wings it may import). Arrays leave the core as NumPy's.
MAY_IMPORT = {
    "core": ({"jax", "flax", "optax"}, {"core"}),
    "checkpoints": ({"jax", "orbax"}, {"core", "checkpoints", "atomic"}),
    "data": ({"ibis", "duckdb", "pyarrow", "pandas", "pyspark", "py4j", "scipy"}, {"data"}),
    "analysis": ({"pandas", "sklearn", "scipy", "threadpoolctl"}, {"analysis"}),
    "report": (
        {"matplotlib", "markdown_it", "rich", "pandas", "jinja2", "markupsafe", "resvg_py"},
        {"report", "analysis", "atomic", "interrupts", "version"},
    ),
    "atomic": (set(), set()),
}
_packages = set().union(*(packages for packages, _ in MAY_IMPORT.values()))
MAY_IMPORT["ensemble"] = ({"jax"}, {"core", "analysis", "ensemble"})
MAY_IMPORT["clustering"] = ({"jax", "pandas"}, {"core", "analysis", "ensemble", "clustering"})
MAY_IMPORT["health"] = ({"jax", "pandas"}, {"core", "analysis", "ensemble", "clustering", "health"})
MAY_IMPORT["sweeps"] = ({"jax", "pandas"}, {"core", "analysis", "ensemble", "clustering", "sweeps"})
MAY_IMPORT["version"] = (set(), set())
MAY_IMPORT["manifest"] = ({"jax"}, {"data", "manifest", "version"})
MAY_IMPORT["interrupts"] = (set(), set())
MAY_IMPORT["hooks"] = ({"tensorboardX", "mlflow"}, {"core", "report", "hooks", "atomic"})
MAY_IMPORT["columns"] = ({"pandas"}, {"core", "columns"})
MAY_IMPORT["estimator"] = (
    {"jax", "pandas", "sklearn"},
    {"core", "ensemble", "clustering", "health", "columns", "checkpoints", "hooks", "manifest", "report"}
    | {"sweeps", "estimator"},
)
MAY_IMPORT["model_file"] = (
    {"jax", "pandas", "safetensors", "sklearn"},
    {"core", "data", "analysis", "ensemble", "clustering", "health", "columns", "estimator", "manifest"}
    | {"atomic", "version"},
)
MAY_IMPORT["paper"] = (_packages, {*MAY_IMPORT, "paper", "__init__"})
MAY_IMPORT["commands"] = (_packages, {*MAY_IMPORT, "commands", "__init__"})
MAY_IMPORT["cli"] = (_packages | {"tyro"}, {*MAY_IMPORT, "cli"} | {"__init__"})
MAY_IMPORT["__main__"] = (set(), {"cli", "version"})
# Loaded when asked for.
MAY_IMPORT["__init__"] = (
    set(),
    {"model_file", "clustering", "ensemble", "estimator", "health", "sweeps", "version"},
)

#: Modules of the data wing that work where no table engine is installed.
NO_ENGINE = ("variables", "matrix", "published", "district.draw", "district.inputs")


def read_sources() -> dict[str, str]:
    """Return the source of every module by dotted name; a package is NAME.__init__."""
    return {
        ".".join(path.relative_to(SRC).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in sorted((SRC / "jvade").rglob("*.py"))
    }


def imported(module: str, source: str) -> Iterator[str]:
    """Yield the dotted names that a module imports; `from a import b` gives a.b, be it module or not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def wing_of(name: str) -> str:
    """Return the wing of a dotted name of ours; "__init__" where it names none."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else "__init__"


def violations(module: str, source: str) -> list[str]:
    """Return one line for each import that the wing of a module may not make."""
    wing = module.split(".")[1]
    if wing not in MAY_IMPORT:
        return [f"{module}: '{wing}' has no line in MAY_IMPORT"]
    packages, wings = MAY_IMPORT[wing]
    found = []
    for name in imported(module, source):
        top = name.split(".")[0]
        if top == "jvade":
            allowed = wing_of(name) in wings
        else:
            allowed = top in sys.stdlib_module_names or top in packages | ANYWHERE
        if not allowed:
            found.append(f"{module} imports {name}")
    return found


def graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which modules of ours each module imports."""

    def resolve(name: str) -> str | None:
        parts = name.split(".")
        for n in range(len(parts), 0, -1):
            prefix = ".".join(parts[:n])
            for candidate in (prefix, f"{prefix}.__init__"):
                if candidate in sources:
                    return candidate
        return None

    edges = {module: {resolve(name) for name in imported(module, sources[module])} for module in sources}
    return {module: {to for to in tos if to is not None} for module, tos in edges.items()}


def cycle(sources: Mapping[str, str]) -> list[str]:
    """Return a circle of imports, or nothing."""
    try:
        TopologicalSorter(graph(sources)).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def packages_reached(module: str, sources: Mapping[str, str]) -> set[str]:
    """Return the packages that a module imports, itself or through other modules of ours."""
    edges, seen, todo = graph(sources), set(), [module]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        parts = name.split(".")
        inits = {".".join([*parts[:n], "__init__"]) for n in range(1, len(parts))}  # these run first
        todo += [*edges[name], *(inits & sources.keys())]
    return {found.split(".")[0] for name in seen for found in imported(name, sources[name])}


def test_every_module_imports_only_what_its_wing_may():
    sources = read_sources()
    assert {wing_of(name) for name in sources} == set(MAY_IMPORT), "every wing, and nothing else, is there"
    assert [line for name, source in sources.items() for line in violations(name, source)] == []


def test_imports_run_one_way():
    assert cycle(read_sources()) == []


@pytest.mark.parametrize("name", NO_ENGINE)
def test_the_table_engine_is_not_reached_from(name):
    assert packages_reached(f"jvade.data.{name}", read_sources()).isdisjoint({"ibis", "duckdb", "pyarrow"})


def test_import_jvade_is_light():
    heavy = ("duckdb", "ibis", "matplotlib", "rich", "tyro")
    code = f"import sys, jvade; print(*[name for name in {heavy} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


# --- the checks can fail ---


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("jvade.core.planted", "import pandas as pd"),
        ("jvade.core.planted", "import jvade"),
        ("jvade.core.planted", "from jvade import data"),
        ("jvade.core.planted", "from ..data import matrix"),
        ("jvade.data.planted", "def f():\n    import jax.numpy as jnp"),
        ("jvade.data.planted", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sklearn"),
        ("jvade.analysis.planted", "from jvade.core.fit import Fit"),
        ("jvade.report.planted", "from jvade.core import model"),
        ("jvade.paper.planted", "import tyro"),
        ("jvade.paper.planted", "from jvade.cli import main"),
        ("jvade.__init__", "from jvade.report import figures"),
        ("jvade.planted", ""),
    ],
)
def test_a_forbidden_import_is_found(module, source):
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "jvade.core.planted",
            "import math, jax.numpy as jnp\nfrom jvade.core import fit\nfrom . import gmm",
        ),
        ("jvade.core.__init__", "from .fit import Fit"),
        ("jvade.data.planted", "from jvade.data.variables import Variable\nfrom ibis.expr import types"),
        ("jvade.paper.planted", "from jvade import __version__\nfrom jvade.report import figures"),
        ("jvade.cli", "import tyro\nfrom jvade.paper import study"),
    ],
)
def test_an_allowed_import_passes(module, source):
    assert violations(module, source) == []


def test_a_circle_is_found():
    sources = {
        "jvade.core.a": "from jvade.core import b",
        "jvade.core.b": "def f():\n    import jvade.core.a",
    }
    assert set(cycle(sources)) == {"jvade.core.a", "jvade.core.b"}


@pytest.mark.parametrize("through", ["jvade.data.low", "jvade.data.__init__"])
def test_an_import_through_another_module_is_found(through):
    sources = {
        "jvade.data.__init__": "",
        "jvade.data.low": "",
        "jvade.data.matrix": "from jvade.data.low import x",
    }
    assert packages_reached("jvade.data.matrix", sources) == {"jvade"}
    sources[through] = "from duckdb import connect"
    assert packages_reached("jvade.data.matrix", sources) == {"jvade", "duckdb"}
