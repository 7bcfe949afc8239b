"""The wheel holds all that the program needs: installed alone, it starts and serves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATIENCE = 60


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's Python with the wheel installed, and the dependencies lent to it.

    A path file is not followed further, so an editable install among them does not count.
    """
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def environment() -> dict[str, str]:
    """Ours, less what would lead back to the checkout or to another home."""
    ours = ("PYTHON", "BRANCHTRACK", "VIRTUAL_ENV")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return clean | {"PYTHONUNBUFFERED": "1"}


def output(python: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def served(python: Path, folder: Path) -> Iterator[str]:
    """The address that a server prints, while it runs."""
    log = folder / "serve.log"
    command = [python, "-m", "branchtrack", "serve", "--port", "0", "--no-token"]
    with log.open("w") as file:
        server = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield _address(server, log)
    finally:
        server.terminate()
        server.wait(timeout=PATIENCE)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"http://[\w.:\[\]]+:\d+", log.read_text()):
            return found.group()
        time.sleep(0.05)
    raise AssertionError(f"No address was printed: {log.read_text()}")


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def test_the_wheel_holds_assets_and_nothing_that_is_not_needed(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("templates", "static", "migrations"):
        present = {
            f"branchtrack/_assets/{path.relative_to(ROOT)}"
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert present <= names
    assert [name for name in names if "__pycache__" in name or name.startswith("tests")] == []
    assert {"branchtrack/py.typed", "branchtrack/skill/SKILL.md"} <= names


def test_the_code_in_use_is_the_wheels(python: Path, tmp_path: Path) -> None:
    code = "import branchtrack, sys; print(branchtrack.__file__, *sys.path, sep='\\n')"
    file, *path = output(python, tmp_path, "-c", code).splitlines()
    assert Path(file).is_relative_to(python.parent.parent)
    assert str(ROOT) not in path


def test_an_installed_wheel_serves_its_pages_and_files(python: Path, tmp_path: Path) -> None:
    output(python, tmp_path, "-m", "branchtrack", "init")
    with served(python, tmp_path) as address:
        page = fetched(f"{address}/")
        assert "<html" in page
        static = re.search(r'(?:href|src)="(/static/[^"]+)"', page)
        assert static is not None, page
        assert fetched(address + static.group(1))
