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
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
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
    those are shown that matter most, as on the page of the run.

    \b
    Example: branchtrack report demo demo.html --metric loss --metric lr
    """
    if file.exists() and not force:
        raise InvalidInput("FILE", str(file), "a file that does not exist; or --force")
    if not file.parent.is_dir():
        raise InvalidInput("FILE", str(file), "a file in a folder that exists")
    text = _render(line, run, metrics, branches, everything)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(file)
    except OSError as error:
        allowed = f"a file that can be written ({error.strerror or error})"
        raise InvalidInput("FILE", str(file), allowed) from error
    finally:
        with suppress(OSError):
            part.unlink()
    if as_json:
        emit({"file": str(file), "bytes": file.stat().st_size, "run": run})
    else:
        echo(f"{file}: {formats.size(file.stat().st_size)}")


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
