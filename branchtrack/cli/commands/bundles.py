"""Moving a run between homes: bundle and unbundle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit
from branchtrack.cli.progress import bar
from branchtrack.core import formats

if TYPE_CHECKING:
    from branchtrack.bundles import Bundle, Merge
    from branchtrack.db.engine import Database

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("bundle")
@click.argument("ref", metavar="RUN[/BRANCH]")
@click.argument("file", type=_FILE)
@click.option("--no-weights", is_flag=True, help="Only the record: no tensors.")
@json_option
@pass_command_line
def bundle(line: CommandLine, ref: str, file: Path, no_weights: bool, as_json: bool) -> None:
    """Write a RUN into one FILE that `unbundle` puts into another home.

    RUN/BRANCH carries only the tensors of the nodes from the root to that branch's head; its record
    is that of the whole run. Nothing may be training or queued in it. FILE must not exist.
    It holds all that the record holds, also commands, variables and differences of code.

    \b
    Example: branchtrack bundle demo demo.bundle
    """
    from branchtrack import bundles

    with line.database() as database, bar("Bundling") as update:
        written = bundles.write(
            database,
            line.store,
            ref,
            file.absolute(),
            weights=not no_weights,
            progress=lambda done, total: update(done, total, "bytes"),
        )
    facts = {
        "file": str(file),
        "bytes": written.nbytes,
        "run": written.run.name,
        "run_id": written.run.id,
        "branch": written.branch.name if written.branch else None,
        "weights": not no_weights,
        "nodes": written.counts["nodes"],
        "events": written.counts["events"],
        "tensors": written.tensors,
        "tensor_bytes": written.tensor_bytes,
    }
    if as_json:
        emit(facts)
        return
    subject = f"{written.run.name}/{written.branch.name}" if written.branch else written.run.name
    echo(
        f"{subject}: {facts['nodes']:,} nodes, {facts['events']:,} events, "
        f"{written.tensors:,} tensors; {formats.size(written.nbytes)} in {file}"
    )


@click.command("unbundle")
@click.argument("file", type=_FILE)
@click.option("--name", metavar="NEW", help="Name of the run in this home.")
@click.option("--dry-run", is_flag=True, help="Check the file, and only say what would be done.")
@json_option
@pass_command_line
def unbundle(line: CommandLine, file: Path, name: str | None, dry_run: bool, as_json: bool) -> None:
    """Put the run in FILE into this home, which is created if there is none.

    All of the file is checked first. Tensors that are here already are not written again. A run
    that is here goes on if its events are the beginning of those in the file; if it has all of them
    only missing tensors are added; if it has others nothing is changed. Nothing is started from the
    home before you trust it again (`branchtrack trust`), unless only tensors were added.

    \b
    Example: branchtrack --home there unbundle demo.bundle
    """
    from branchtrack import bundles, processes
    from branchtrack.control import leftovers

    with bundles.Bundle(file.absolute()) as opened:
        with bar("Checking") as update:
            opened.check(lambda done, total: update(done, total, "bytes"))
        with _home(line, dry_run) as database, bar("Unbundling") as update:
            merge = bundles.unbundle(
                database,
                line.store,
                line.config,
                opened,
                leftovers.pack_owner(database, line.store, processes.own_name()),
                name=name,
                dry_run=dry_run,
                progress=lambda done, total: update(done, total, "bytes"),
            )
        facts = _facts(file, opened, merge, dry_run)
    if as_json:
        emit(facts)
    else:
        _say(facts)


@contextmanager
def _home(line: CommandLine, dry_run: bool) -> Iterator[Database]:
    """Open the database of the home; a dry run where there is none has an empty one."""
    from branchtrack.db import schema
    from branchtrack.db.engine import Database
    from branchtrack.errors import DatabaseMissing

    with ExitStack() as stack:
        try:
            database = stack.enter_context(line.database(create=not dry_run))
        except DatabaseMissing:
            database = Database("sqlite://")
            stack.callback(database.close)
            schema.upgrade(database)
        yield database


def _facts(file: Path, opened: Bundle, merge: Merge, dry_run: bool) -> dict[str, Any]:
    plan = merge.plan
    return {
        "file": str(file),
        "run": plan.name,
        "run_id": opened.run_id,
        "branch": opened.header.get("branch"),
        "weights": bool(opened.header.get("weights")),
        "result": plan.kind if plan.kind != "weights" or plan.lacking else "unchanged",
        "dry_run": dry_run,
        "events_before": plan.events,
        "events": max(plan.events, len(opened.links)),
        "checkpoints": len(plan.lacking),
        "tensors": len(plan.tensors),
        "tensors_present": plan.present,
        "tensor_bytes": merge.tensor_bytes,
        "removed_branches": list(plan.removed),
        "trust_needed": merge.needs_trust,
    }


def _say(facts: dict[str, Any]) -> None:
    run, would = facts["run"], "would be " if facts["dry_run"] else ""
    new = facts["events"] - facts["events_before"]
    words = {
        "new": f"{run}: {would}new here, with {new:,} events",
        "extended": f"{run}: {would}extended by {formats.plural(new, 'event')} "
        f"to {facts['events']:,}",
        "weights": f"{run}: has all of these events; only missing tensors {would or 'were '}added",
        "unchanged": f"{run}: has all of this already; nothing {would or 'was '}changed",
    }
    echo(f"{words[facts['result']]}.")
    if facts["removed_branches"]:
        names = ", ".join(facts["removed_branches"])
        echo(f"Purged there, and {would or 'so '}purged here: {names}.")
    if facts["checkpoints"]:
        echo(
            f"{facts['checkpoints']:,} checkpoints: {facts['tensors']:,} tensors "
            f"({formats.size(facts['tensor_bytes'])}) {would or 'were '}written, "
            f"{facts['tensors_present']:,} were here."
        )
    if facts["trust_needed"]:
        echo(
            "Nothing is started from this home before `branchtrack trust`, which shows what came "
            "with the file."
        )
