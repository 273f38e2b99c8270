"""Installing and starting threadchat: from the wheel, the sdist, a checkout, and by the checkout's own scripts.

Each is installed into a virtual environment that has the packages its metadata requires, and no others.
"""

from __future__ import annotations

import ast
import compileall
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipapp
import zipfile
from collections.abc import Iterable
from email.parser import Parser
from pathlib import Path

import pytest
from helpers import LIMIT, Process, ask, websocket

from threadchat import __version__

ROOT = Path(__file__).parents[1]
PATIENCE = 300.0  # seconds; bounds a failure of pip, which may have to download setuptools
REQUIREMENTS = {"simple-websocket", "werkzeug", "wsproto"}
METRICS, TERMINAL = {"prometheus-client"}, {"prompt-toolkit", "segno"}  # what the extras of these names add
REDIS = {"redis", "hiredis"}  # the same
WWW = {path.relative_to(ROOT / "www").as_posix() for path in (ROOT / "www").rglob("*") if path.is_file()}

NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "venv", "env", "node_modules")

# The first version of setuptools that builds wheels without the package wheel.
BUILD_TOOLS = ["setuptools>=70.1"]


def required(name: str) -> str:
    """The name of the distribution in a requirement such as "Werkzeug>=3.1", normalized as on PyPI."""
    return re.split(r"[^\w.-]", name, maxsplit=1)[0].lower().replace("_", "-")


def closure(names: Iterable[str]) -> set[str]:
    """The names of these distributions and of all that they require at run time, directly or indirectly."""
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
    """Run the command with these environment variables added; fail with its output unless it exits with 0."""
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
    """A folder with setuptools for PYTHONPATH; empty if this environment can build a wheel by itself."""
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
    """A copy of the checkout, in which a build may leave files."""
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
    """A virtual environment with threadchat's requirements, as links to the packages of this environment."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    for name in closure(REQUIREMENTS):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            (site_packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder


def install(environment: Path, build_tools: str, *what: str | Path) -> None:
    """Install it without an index, so that the environment must already hold everything it requires."""
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-build-isolation")
    check_call(*pip, *what, PYTHONPATH=build_tools)


def check_that_it_works(
    command: list[str | Path], folder: Path, came_from: Path, no_guide: bytes = b"", **variables: str
) -> None:
    """Start the server in another folder, get each page and file, let two clients talk, stop it, and begin an exercise.

    `no_guide` is a part of the answer where there is no guide.
    """
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    where = [str(Path(command[0]).parent / "python"), "-c", "import threadchat; print(threadchat.__file__)"]
    module = subprocess.check_output(where, cwd=elsewhere, env={**clean, **variables}, text=True, timeout=LIMIT)
    assert Path(module.strip()).is_relative_to(came_from), f"another threadchat was imported: {module}"
    arguments = [*map(str, command), "serve", "--port", "0"]
    with Process(elsewhere, arguments, cwd=elsewhere, env={**clean, **variables}) as process:
        for path in ("", "guide", *(f"static/{name}" for name in WWW)):
            answer = ask(process, "GET", f"/{path}")
            assert answer.body
            if path == "guide" and no_guide:
                assert answer.status == 404
                assert no_guide in answer.body
            else:
                assert answer.status == 200
                assert answer.body.startswith(b"" if path.startswith("static/") else b"<!doctype html>")
        url = f"ws://127.0.0.1:{process.port}/ws"
        with websocket(url, compression=None) as one, websocket(url, compression=None) as two:
            process.wait_for("client 2 joined")
            one.send("hello")
            assert [one.recv(LIMIT), two.recv(LIMIT)] == ["hello", "hello"]
        assert process.end() == 0
    for action, said in (("", "Exercise 1 of "), ("check", "`start` is still to be written")):
        exercise = [*map(str, command), "exercise", *filter(None, [action])]
        done = subprocess.run(exercise, cwd=elsewhere, env={**clean, **variables}, capture_output=True, text=True)
        assert said in done.stdout, done.stderr


def test_the_wheel_works(wheel: Path, environment: Path, build_tools: str, tmp_path: Path) -> None:
    install(environment, build_tools, wheel)
    check_that_it_works([environment / "bin" / "threadchat"], tmp_path, environment)


def test_the_sdist_works(sdist: Path, environment: Path, build_tools: str, tmp_path: Path) -> None:
    install(environment, build_tools, sdist)
    check_that_it_works([environment / "bin" / "threadchat"], tmp_path, environment)


def test_an_editable_install_works(checkout: Path, environment: Path, build_tools: str, tmp_path: Path) -> None:
    install(environment, build_tools, "--editable", checkout)
    check_that_it_works([environment / "bin" / "threadchat"], tmp_path, checkout)


def test_a_checkout_works_without_being_installed(checkout: Path, environment: Path, tmp_path: Path) -> None:
    python = environment / "bin" / "python"
    check_that_it_works([python, "-m", "threadchat"], tmp_path, checkout, PYTHONPATH=str(checkout / "src"))


def test_a_zip_file_works(wheel: Path, environment: Path, tmp_path: Path) -> None:
    program = unpacked(wheel, tmp_path).with_suffix(".pyz")
    zipapp.create_archive(tmp_path / "unpacked", program, main="threadchat.__main__:main")
    check_that_it_works([environment / "bin" / "python", program], tmp_path, program, PYTHONPATH=str(program))


def test_bytecode_works_without_its_source_except_for_what_shows_the_source(
    wheel: Path, environment: Path, tmp_path: Path
) -> None:
    folder = unpacked(wheel, tmp_path)
    assert compileall.compile_dir(folder, quiet=1, legacy=True)
    for path in folder.rglob("*.py"):
        path.unlink()
    program: list[str | Path] = [environment / "bin" / "python", "-m", "threadchat"]
    without = b"<p>The guide cannot be shown, since this installation is not complete: there is no file "
    check_that_it_works(program, tmp_path, folder, without, PYTHONPATH=str(folder))
    for arguments in (["demo"], ["serve", "--inspect"], ["lesson", "nagle"]):
        done = subprocess.run(
            [*program, *arguments],
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 2
        assert "show this program's own source, and this installation has only its bytecode" in done.stderr
        assert "Traceback" not in done.stderr


def unpacked(wheel: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_the_modules_the_pages_and_the_marker_for_type_checkers(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = ROOT / "src"
    modules = {str(path.relative_to(source)) for kind in ("*.py", "*.md") for path in source.rglob(kind)}
    page = {f"threadchat/www/{name}" for name in WWW}
    cards = {str(path.relative_to(source)) for path in source.rglob("cards/*.md")}
    metadata = f"threadchat-{__version__}.dist-info/"
    assert {name for name in names if not name.startswith(metadata)} == modules | page | cards | {"threadchat/py.typed"}
    assert any(name.startswith(metadata) and name.endswith("LICENSE") for name in names)


def test_the_sdist_holds_everything_that_the_wheel_is_built_from(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {str(path.relative_to(ROOT)) for kind in ("*.py", "*.md") for path in (ROOT / "src").rglob(kind)}
    page = {f"www/{name}" for name in WWW}
    others = {"pyproject.toml", "setup.cfg", "LICENSE", "src/threadchat/py.typed"}
    assert sources | page | others <= names


def test_the_wheel_requires_each_package_that_is_imported_within_bounds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"threadchat-{__version__}.dist-info/METADATA").decode())
    needs = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert {required(need) for need in needs} == REQUIREMENTS
    assert all(">=" in need and "<" in need for need in needs), needs
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Version"] == __version__


def test_the_requirements_are_the_packages_that_the_source_imports() -> None:
    imported = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").partition(".")[0])
    imported -= {"threadchat", "_typeshed", *sys.stdlib_module_names}  # _typeshed is there for type checkers alone
    distributions = importlib.metadata.packages_distributions()
    assert {
        required(name) for package in imported for name in distributions[package]
    } == REQUIREMENTS | METRICS | REDIS | TERMINAL


# The checkout's scripts

# An interpreter that writes down how it is called. Like the real one it can make a virtual environment; the command
# threadchat of that environment prints its own path and arguments.
PYTHON = """#!/bin/sh
echo "$@" >> {calls}
if [ "$2 $3" = "venv --clear" ]; then
    rm -rf "$4"
    mkdir -p "$4/bin"
    cp "$0" "$4/bin/python"
    printf '#!/bin/sh\\necho "$0 $@"\\n' > "$4/bin/threadchat"
    chmod +x "$4/bin/threadchat"
fi
"""


class Clone:
    """A checkout that has the scripts alone, and an interpreter that only notes what it is asked to do."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a clone"
        shutil.copytree(ROOT / "scripts", self.path / "scripts", ignore=shutil.ignore_patterns("pictures", "benchmark"))
        shutil.copy(ROOT / "setup.cfg", self.path)
        self.calls = folder / "calls"
        self.calls.touch()
        python = folder / "bin" / "python3"
        python.parent.mkdir()
        python.write_text(PYTHON.format(calls=self.calls))
        python.chmod(0o755)
        self._environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}

    def run(self, *command: str | Path) -> tuple[str, list[str]]:
        """What the command prints, and the calls by which the interpreter made or filled an environment meanwhile."""
        before = len(self.calls.read_text().splitlines())
        printed = subprocess.check_output(list(map(str, command)), env=self._environment, text=True, timeout=LIMIT)
        made = re.compile("-m venv|-m pip")
        return printed, [call for call in self.calls.read_text().splitlines()[before:] if made.match(call)]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_a_script_makes_the_environment_once_and_uses_it(clone: Clone) -> None:
    printed, calls = clone.run(clone.path / "scripts" / "serve", "--port", "0")
    assert printed == f"{clone.path}/.venv/bin/threadchat serve --port 0\n"
    assert calls[0] == f"-m venv --clear {clone.path}/.venv"
    assert [call.partition("--editable ")[2] for call in calls[1:]] == [str(clone.path), f"{clone.path}[terminal]"]
    assert clone.run(clone.path / "scripts" / "serve") == (f"{clone.path}/.venv/bin/threadchat serve\n", [])


def test_a_script_installs_again_after_a_change_of_setup_cfg(clone: Clone) -> None:
    clone.run(clone.path / "scripts" / "venv", "test")
    later = (clone.path / ".venv" / "installed-test").stat().st_mtime + 1
    os.utime(clone.path / "setup.cfg", (later, later))
    _, calls = clone.run(clone.path / "scripts" / "venv", "test")
    assert [call.partition("--editable ")[2] for call in calls] == [str(clone.path), f"{clone.path}[test]"]


def test_the_scripts_of_a_checkout_that_was_moved_make_its_environment_anew(clone: Clone) -> None:
    clone.run(clone.path / "scripts" / "venv")
    clone.path = clone.path.rename(clone.path.with_name("moved"))
    printed, calls = clone.run(clone.path / "scripts" / "serve")
    assert printed == f"{clone.path}/.venv/bin/threadchat serve\n"
    assert calls[0] == f"-m venv --clear {clone.path}/.venv"
    assert [call.partition("--editable ")[2] for call in calls[1:]] == [str(clone.path), f"{clone.path}[terminal]"]


def test_an_environment_without_its_interpreter_is_made_anew(clone: Clone) -> None:
    clone.run(clone.path / "scripts" / "venv")
    (clone.path / ".venv" / "bin" / "python").unlink()
    _, calls = clone.run(clone.path / "scripts" / "venv")
    assert calls[0] == f"-m venv --clear {clone.path}/.venv"


def test_the_scripts_work_through_links_to_them_and_to_the_checkout(clone: Clone, tmp_path: Path) -> None:
    clone.run(clone.path / "scripts" / "venv", "terminal")
    (tmp_path / "serve").symlink_to(clone.path / "scripts" / "serve")
    (tmp_path / "link").symlink_to(clone.path)
    for script in (tmp_path / "serve", tmp_path / "link" / "scripts" / "serve"):
        assert clone.run(script) == (f"{clone.path}/.venv/bin/threadchat serve\n", [])


def test_the_oldest_versions_have_an_environment_of_their_own(clone: Clone) -> None:
    _, calls = clone.run(clone.path / "scripts" / "venv", "--oldest", "test")
    environment = clone.path / ".venv-oldest"
    assert calls[0] == f"-m venv --clear {environment}"
    assert all(f"--constraint {environment}/oldest.txt" in call for call in calls[1:])
    oldest = (environment / "oldest.txt").read_text().splitlines()
    bounds = re.findall(r"^ +([\w-]+)>=([\d.]+)", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert oldest == [f"{name}=={version}" for name, version in bounds]
    assert {name for name, _ in bounds} >= REQUIREMENTS
