"""The command `report`: a run as one file that needs no server."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit
from branchtrack.core import formats
from branchtrack.errors import InvalidInput


@click.command()
@click.argument("run")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="A chart; repeatable.")
@click.option("--branch", "branches", multiple=True, metavar="NAME", help="A branch; repeatable.")
@click.option("--all", "everything", is_flag=True, help="Every branch, however many there are.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
@pass_command_line
def report(
    line: CommandLine,
    run: str,
    file: Path,
    metrics: tuple[str, ...],
    branches: tuple[str, ...],
    everything: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write RUN to FILE: its tree, charts, branches, changes and proofs on one page.

    The page needs neither a server nor scripts, so it can be sent to anybody. Of very many branches
    those are shown that matter most, as on the page of the run. As FILE - is the standard output.

    \b
    Example: branchtrack report demo demo.html --metric loss --metric lr
    """
    if str(file) == "-":
        if as_json:
            raise InvalidInput("FILE", "-", "a file: with --json other facts are printed")
        page = _render(line, run, metrics, branches, everything)
        click.echo(page.encode(errors="replace"), nl=False)
        return
    target = _target(file, force)
    text = _render(line, run, metrics, branches, everything)
    _write(target, text, file)
    if as_json:
        emit({"file": str(file), "bytes": target.stat().st_size, "run": run})
    else:
        echo(f"{file}: {formats.size(target.stat().st_size)}")


def _target(file: Path, force: bool) -> Path:
    """Return the file that is written: a link stays, and what it leads to is replaced.

    Raises:
        InvalidInput: it exists and may not be replaced, is no regular file, or has no folder.
    """
    target = Path(os.path.realpath(file))
    if os.path.lexists(target) and not target.is_file():
        # A device or a pipe would be replaced by a file; what is still a link leads in a circle.
        raise InvalidInput("FILE", str(file), "a regular file; - is the standard output")
    if target.exists() and not force:
        raise InvalidInput("FILE", str(file), "a file that does not exist; or --force")
    if not target.parent.is_dir():
        raise InvalidInput("FILE", str(file), "a file in a folder that exists")
    return target


def _write(target: Path, text: str, file: Path) -> None:
    """Replace ``target``, which was named as ``file``, as a whole or not at all.

    Raises:
        InvalidInput: it cannot be written.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(target)
    except OSError as error:
        allowed = f"a file that can be written ({error.strerror or error})"
        raise InvalidInput("FILE", str(file), allowed) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _render(
    line: CommandLine,
    run: str,
    metrics: tuple[str, ...],
    branches: tuple[str, ...],
    everything: bool,
) -> str:
    """Return the page, as the server would have it."""
    from branchtrack.web.app import create_app
    from branchtrack.web.pages.downloads import report as page

    address = {"metric": list(metrics), "branch": list(branches)}
    if everything:
        address["show"] = ["all"]
    with line.database() as database:
        app = create_app(line.config, database, line.store, token=None)
        with app.test_request_context("/", query_string=address):
            return page.render(run)
