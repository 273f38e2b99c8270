"""What people install: the wheel, the sdist and the checkout, each in a virtual environment of its own.

The environments hold threadchat, what its metadata requires, and nothing else.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import venv
import zipfile
from collections.abc import Iterable
from email.parser import Parser
from pathlib import Path

import pytest
from helpers import LIMIT, Process
from websockets.sync.client import connect

from threadchat import __version__

ROOT = Path(__file__).parents[1]
PATIENCE = 300.0  # seconds for pip, which may have to download setuptools
REQUIREMENTS = {"simple-websocket", "werkzeug"}
WWW = {path.relative_to(ROOT / "www").as_posix() for path in (ROOT / "www").rglob("*") if path.is_file()}

NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "venv", "env", "node_modules")

# Setuptools makes wheels by itself from 70.1 on.
BUILD_TOOLS = ["setuptools>=70.1"]


def required(name: str) -> str:
    """The name of the distribution that a requirement is about, as PyPI spells it."""
    return re.split(r"[^\w.-]", name, maxsplit=1)[0].lower().replace("_", "-")


def closure(names: Iterable[str]) -> set[str]:
    """These distributions and all that they require at run time."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needs = importlib.metadata.requires(name) or []
            waiting += [required(need) for need in needs if "extra ==" not in need and ";" not in need]
    return found


def check_call(*command: str | Path, **variables: str) -> None:
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="session")
def build_tools(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with setuptools, for PYTHONPATH; empty where this environment has what it takes."""
    try:
        major, minor = importlib.metadata.version("setuptools").split(".")[:2]
        if (int(major), int(minor)) >= (70, 1) or importlib.util.find_spec("wheel"):
            return ""
    except importlib.metadata.PackageNotFoundError:
        pass
    folder = tmp_path_factory.mktemp("build-tools")
    check_call(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, *BUILD_TOOLS)
    return str(folder)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, which builds may litter."""
    folder = tmp_path_factory.mktemp("checkout") / "threadchat"
    shutil.copytree(ROOT, folder, ignore=NOT_SOURCE)
    return folder


@pytest.fixture(scope="session")
def wheel(checkout: Path, build_tools: str) -> Path:
    folder = checkout / "made"
    pip_wheel = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    check_call(*pip_wheel, "--wheel-dir", folder, checkout, PYTHONPATH=build_tools)
    return folder / f"threadchat-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="session")
def sdist(checkout: Path, build_tools: str) -> Path:
    code = f"import os, setuptools.build_meta; os.chdir({str(checkout)!r}); setuptools.build_meta.build_sdist('made')"
    check_call(sys.executable, "-c", code, PYTHONPATH=build_tools)
    return checkout / "made" / f"threadchat-{__version__}.tar.gz"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment that has threadchat's requirements, by links to where they are installed here."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    for name in closure(REQUIREMENTS):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            (site_packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder


def install(environment: Path, build_tools: str, *what: str | Path) -> None:
    """With --no-index: all that it requires has to be there."""
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-build-isolation")
    check_call(*pip, *what, PYTHONPATH=build_tools)


def check_that_it_works(command: list[str | Path], folder: Path, came_from: Path, **variables: str) -> None:
    """Start it in another folder; look at the page and its files; let two clients talk; stop it."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    where = [str(Path(command[0]).parent / "python"), "-c", "import threadchat; print(threadchat.__file__)"]
    module = subprocess.check_output(where, cwd=elsewhere, env={**clean, **variables}, text=True, timeout=LIMIT)
    assert Path(module.strip()).is_relative_to(came_from), f"another threadchat is in the way: {module}"
    arguments = [*map(str, command), "serve", "--port", "0"]
    with Process(elsewhere, arguments, cwd=elsewhere, env={**clean, **variables}) as process:
        pages = dict.fromkeys(("", "guide"), b"<!doctype html>")
        for path, start in {**pages, **{f"static/{name}": b"" for name in WWW}}.items():
            with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/{path}", timeout=LIMIT) as answer:
                body = answer.read()
            assert body
            assert body.startswith(start)
        url = f"ws://127.0.0.1:{process.port}/ws"
        with connect(url, compression=None) as one, connect(url, compression=None) as two:
            process.wait_for("client 2 joined")
            one.send("hello")
            assert [one.recv(LIMIT), two.recv(LIMIT)] == ["hello", "hello"]
        assert process.end() == 0


def test_the_wheel_works(wheel: Path, environment: Path, build_tools: str, tmp_path: Path) -> None:
    install(environment, build_tools, wheel)
    check_that_it_works([environment / "bin" / "threadchat"], tmp_path, environment)


def test_the_sdist_works(sdist: Path, environment: Path, build_tools: str, tmp_path: Path) -> None:
    install(environment, build_tools, sdist)
    check_that_it_works([environment / "bin" / "threadchat"], tmp_path, environment)


def test_an_editable_install_works(checkout: Path, environment: Path, build_tools: str, tmp_path: Path) -> None:
    install(environment, build_tools, "--editable", checkout)
    check_that_it_works([environment / "bin" / "threadchat"], tmp_path, checkout)


def test_the_checkout_works_as_it_stands(checkout: Path, environment: Path, tmp_path: Path) -> None:
    python = environment / "bin" / "python"
    check_that_it_works([python, "-m", "threadchat"], tmp_path, checkout, PYTHONPATH=str(checkout / "src"))


def test_the_wheel_has_the_modules_the_page_and_the_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = ROOT / "src"
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    page = {f"threadchat/www/{name}" for name in WWW}
    metadata = f"threadchat-{__version__}.dist-info/"
    assert {name for name in names if not name.startswith(metadata)} == modules | page | {"threadchat/py.typed"}
    assert any(name.startswith(metadata) and name.endswith("LICENSE") for name in names)


def test_the_sdist_has_what_the_wheel_is_made_of(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*.py")}
    page = {f"www/{name}" for name in WWW}
    others = {"pyproject.toml", "setup.cfg", "LICENSE", "src/threadchat/py.typed"}
    assert sources | page | others <= names


def test_the_wheel_requires_werkzeug_and_simple_websocket_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"threadchat-{__version__}.dist-info/METADATA").decode())
    needs = metadata.get_all("Requires-Dist", [])
    assert {required(need) for need in needs if "extra ==" not in need} == REQUIREMENTS
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Version"] == __version__
