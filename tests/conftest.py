"""Every annotation of the core is executed in these tests: shapes and types are checked on each call."""

import logging
import os
from importlib.metadata import version
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]

# Most of the time goes into compiling: what one process of the tests has compiled, the others take from here.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
# Small problems need no fast programs: half the time. With XLA_FLAGS="", as `make test-all` has it, these are
# compiled as users compile them.
QUICKLY = ["--xla_backend_optimization_level=0"]
if version("jaxlib").startswith("0.10."):  # XLA ends a process for flags that it does not know
    # In one piece, for every core has tests of its own: a tenth less.
    QUICKLY += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
os.environ.setdefault("XLA_FLAGS", " ".join(QUICKLY))

import jax  # noqa: E402

jax.devices()  # a command that a test calls must not part the CPU for those that come after it

install_import_hook("jvade.core", "beartype.beartype")


@pytest.fixture
def x64():
    """Compute in double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compiled(monkeypatch):
    """The names of the programs that JAX compiles from here on."""
    # What was compiled before is not to be forgotten in between, for all that other tests have left behind.
    monkeypatch.setattr("jvade.core.layout.MAPS_SHARE", 0.9)
    names = []

    class Collect(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith("Compiling"):
                names.append(record.getMessage().split(" with ")[0])

    logger, handler = logging.getLogger("jax._src.interpreters.pxla"), Collect()
    logger.addHandler(handler)
    with jax.log_compiles():
        yield names
    logger.removeHandler(handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of open records that some tests read; skips where it is absent."""
    folder = Path(os.environ.get("JVADE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: neither JVADE_DATA nor {folder.name} beside the project is a folder")
    return folder
