"""The command ``skill``: what an agent has to know to work with branchtrack, in one file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from branchtrack.cli.context import json_option
from branchtrack.cli.output import echo, emit
from branchtrack.errors import InvalidInput

NAME = "SKILL.md"


@click.command()
@click.option(
    "--install",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write it to DIR/branchtrack/SKILL.md, where agents look for skills.",
)
@click.option("--force", is_flag=True, help="With --install: replace the file that is there.")
@json_option
def skill(folder: Path | None, force: bool, as_json: bool) -> None:
    """Print what an agent needs to know: tasks and their commands, exit codes, rules.

    \b
    Example: branchtrack skill
             branchtrack skill --install .claude/skills
    """
    text = skill_text()
    path = None if folder is None else _install(folder, text, force)
    if as_json:
        emit({"name": "branchtrack", "text": text, "path": None if path is None else str(path)})
    elif path is None:
        click.echo(text, nl=False)
    else:
        echo(f"Written to {path}.")


def skill_text() -> str:
    """Return the file as it is in the package."""
    return (files("branchtrack") / "skill" / NAME).read_text(encoding="utf-8")


def _install(folder: Path, text: str, force: bool) -> Path:
    path = folder / "branchtrack" / NAME
    if path.exists() and path.read_text(encoding="utf-8") != text and not force:
        raise InvalidInput(
            "install",
            str(folder),
            "another folder, or --force to replace the file",
            what=f"{path} is there, and differs.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
