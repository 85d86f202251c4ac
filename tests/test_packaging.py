"""What a person installs: the wheel, the pins, and the version that all of them tell."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import jvade

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = [
    c.rsplit(" ", 1)[1]
    for c in PROJECT["classifiers"]
    if c.startswith("Programming Language :: Python :: 3.")
]

#: One pin: name, exact version, and perhaps the systems it is for.
PIN = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[0-9][0-9a-z.]*)( ; [a-z_]+ [!=]= '[a-z0-9]+')?"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built from this folder with what is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    command = "-m pip --disable-pip-version-check wheel --quiet --no-index --no-deps --no-build-isolation"
    done = subprocess.run(
        [sys.executable, *command.split(), "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def read_pins(name: str) -> dict[str, str]:
    """Return the version of each package of a pin file, as {name: version}."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    pins = [PIN.fullmatch(line) for line in lines[1:]]
    assert None not in pins, [line for line, pin in zip(lines[1:], pins, strict=True) if pin is None]
    found = {pin["name"]: pin["version"] for pin in pins if pin}
    assert len(found) == len(pins), "every package once"
    return found


def test_the_wheel_holds_the_package_its_data_and_its_licence(wheel):
    ours = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "jvade").rglob("*")
        if path.suffix in {".py", ".csv", ".typed", ".toml", ".txt", ".css", ".js", ".j2"}
    }
    assert len([name for name in ours if name.startswith("jvade/data/published/")]) == 6
    assert "jvade/py.typed" in ours
    info = f"jvade-{jvade.__version__}.dist-info"
    assert ours == {name for name in wheel.namelist() if not name.startswith(info)}
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_tells_our_version_and_pythons(wheel):
    metadata = message_from_string(wheel.read(f"jvade-{jvade.__version__}.dist-info/METADATA").decode())
    assert metadata["Version"] == jvade.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert (
        Requirement(f"python{PROJECT['requires-python']}").specifier
        == Requirement(f"python{metadata['Requires-Python']}").specifier
    )


def test_every_supported_python_is_named():
    allowed = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed] == PYTHONS


@pytest.mark.parametrize("python", PYTHONS)
def test_pins_are_exact_and_hold_what_the_project_asks_for(python):
    name = f"py{python.replace('.', '')}"
    study, dev = read_pins(name), read_pins(f"{name}-dev")
    assert study.items() <= dev.items(), "a study runs the same with the tools of development beside it"
    extras = PROJECT["optional-dependencies"]
    builders = [
        line
        for line in (ROOT / "requirements" / "build.in").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    for pins, asked in (
        (study, [*PROJECT["dependencies"], *extras["tables"], *extras["report"], *builders]),
        (dev, [*extras["dev"], *extras["bench"]]),
    ):
        for requirement in map(Requirement, asked):
            version = pins[canonicalize_name(requirement.name)]
            assert version in requirement.specifier, f"{requirement}, pinned {version}: run `make lock`"


@pytest.mark.parametrize(
    "line",
    ["numpy", "numpy>=2.1", "numpy==2.*", "jvade @ file:///x", "-e .", "--index-url x", "a==1 @ http://x"],
)
def test_what_is_no_pin_is_found(line):
    assert PIN.fullmatch(line) is None


def test_the_citation_tells_our_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: \"?([^\"\n]+)\"?$", text, re.MULTILINE) == [jvade.__version__]
