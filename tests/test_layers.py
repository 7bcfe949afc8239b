"""The layers of ARCHITECTURE.md, checked on the code as it is, and the check itself checked."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
MAY_KNOW_TORCH = {"training", "examples", "checkpoints"}
NO_LAYER = {"__init__", "__main__", "_assets"}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter on the ``branchtrack`` in ``folder``, by the contracts beside it."""
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def contracts() -> dict[str, dict[str, list[str]]]:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {c["id"]: c for c in configuration["tool"]["importlinter"]["contracts"]}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the code to be spoiled."""
    ignored = shutil.ignore_patterns("__pycache__", "_assets")
    shutil.copytree(ROOT / "branchtrack", tmp_path / "branchtrack", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_import_goes_down() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("core/tree.py", "import branchtrack.db.engine", "A module imports from lines below"),
        ("db/engine.py", "import branchtrack.checkpoints.packs", "A module imports from lines"),
        ("web/__init__.py", "import branchtrack.training", "A module imports from lines below"),
        ("web/__init__.py", "import torch.nn", "know torch"),
        ("training/state/buffers.py", "import branchtrack.training.session", "Within training"),
        ("training/loop/data.py", "import branchtrack.training.trainer", "Within training"),
        ("web/view/tree.py", "import branchtrack.web.pages", "Within web"),
        ("checkpoints/packs.py", "import transformers", "know torch"),
        ("training/__init__.py", "import flask", "does not know the web"),
        ("newcomer.py", "import json", "A module imports from lines below"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    copy: Path, module: str, line: str, contract: str
) -> None:
    with (copy / "branchtrack" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [text for text in done.stdout.splitlines() if " BROKEN" in text]
    assert any(contract in text for text in broken), done.stdout


def test_torch_is_found_behind_another_module(copy: Path) -> None:
    (copy / "branchtrack" / "checkpoints" / "tensors.py").write_text("import torch\n")
    with (copy / "branchtrack" / "control" / "launch.py").open("a") as file:
        file.write("\nimport branchtrack.checkpoints.tensors\n")
    done = lint(copy)
    assert done.returncode == 1
    assert "branchtrack.checkpoints.tensors -> torch" in done.stdout


def test_every_module_that_may_not_know_torch_is_under_the_contract() -> None:
    package = ROOT / "branchtrack"
    present = {path.stem for path in package.glob("*.py")}
    present |= {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {f"branchtrack.{name}" for name in present - {*NO_LAYER, *MAY_KNOW_TORCH}}
    store = {path.stem for path in (package / "checkpoints").glob("*.py")}
    store |= {path.parent.name for path in (package / "checkpoints").glob("*/__init__.py")}
    modules |= {f"branchtrack.checkpoints.{name}" for name in store - {"__init__", "tensors"}}
    assert set(contracts()["no-torch"]["source_modules"]) == modules


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("branchtrack", exclude_type_checking_imports=False)
    # Its public names are resolved on first use.
    graph.remove_module("branchtrack")
    circles = [
        (importer, imported)
        for importer in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(importer))
        if graph.find_shortest_chain(imported, importer)
    ]
    assert circles == []
