"""What a run writes down about itself."""

import dataclasses
import hashlib
import json
import os
import platform
import re
import sys
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jvade.data.errors import InputError, out_of_reach
from jvade.data.files import ABSENT, inside
from jvade.data.mapping import read_mapping
from jvade.version import __version__

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pandas", "scikit-learn",
    "matplotlib", "ibis-framework", "duckdb", "pyarrow",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the version of Python and of each package that a result may depend on."""
    found = {"jvade": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def code_fingerprint() -> str:
    """Return one word for the code that computes, whatever only draws left out: results depend on it."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        drawn = path.relative_to(root).parts[0] == "report" or path.name in ("page.py", "cli.py")
        if path.is_file() and path.suffix in (".py", ".toml", ".csv", ".txt") and not drawn:
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def key(**parts: Any) -> str:
    """Return one word for what a result depends on: these parts, the code, versions and kind of device."""
    parts |= {"code": code_fingerprint(), "versions": versions(), "device": device()["platform"]}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def device() -> dict[str, Any]:
    """Return the kind and number of the devices that JAX computes on."""
    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "count": len(devices),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def fingerprint(path: Path) -> dict[str, Any] | None:
    """Return name, size in bytes and SHA-256 of a file, or of the parts of a table in a folder, by name.

    Where there is no such file it is None: that is told of where the file is read, with what to do.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        files = inside(path) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        size = sum(file.stat().st_size for file in files)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise InputError([out_of_reach(error.strerror or "no reason is given")], path.name) from None
    return {"name": path.name, "bytes": size, "sha256": digest.hexdigest()}


def fingerprints(visits: Path, mapping: Path) -> dict[str, Any]:
    """Return the fingerprint of every file that a table of visits is read from, None if it is not there.

    Raises:
        InputError: the mapping, or a file, cannot be read.
    """
    files = {"visits": visits, "mapping": mapping}
    files |= {join.name: Path(join.file) for join in read_mapping(mapping).join}
    return {name: fingerprint(path) for name, path in files.items()}


def plain(settings: Any) -> Any:
    """Return settings as what JSON holds; of a path, the name only."""
    if isinstance(settings, Path):
        return settings.name
    if dataclasses.is_dataclass(settings):
        return {f.name: plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}
    if hasattr(settings, "_asdict"):
        return {name: plain(value) for name, value in settings._asdict().items()}
    if isinstance(settings, np.generic | np.ndarray):
        return settings.tolist()
    return [plain(one) for one in settings] if isinstance(settings, (tuple, list, range)) else settings


def of_training(began: datetime, seconds: dict[str, float], settings: Any, source: Any) -> dict[str, Any]:
    """Return what the manifest of every command that trains says.

    Args:
        began: when it did.
        seconds: of each step.
        settings: all of them.
        source: fingerprints of its input.
    """
    return {
        "jvade": __version__,
        "began": began.isoformat(timespec="seconds"),
        "seconds": seconds,
        "peak_memory_gb": peak_memory_gb(),
        "device": device(),
        "versions": versions(),
        "settings": plain(settings),
        "input": source,
    }


def peak_memory_gb() -> float | None:
    """Return the largest resident memory of this process, in 10^9 bytes; None where it is not counted."""
    status = Path("/proc/self/status")
    if status.exists():  # where `ru_maxrss` counts the process that started this one too
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        if peak is not None:
            return round(int(peak[1]) * 1024 / 1e9, 2)
    try:
        import resource
    except ModuleNotFoundError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e9, 2)
