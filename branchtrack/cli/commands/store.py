"""Commands on the home, the database and the store: init, export, db upgrade."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, print_fields
from branchtrack.cli.progress import bar

if TYPE_CHECKING:
    from branchtrack.core.records import Node
    from branchtrack.db.engine import Database


@click.command()
@click.option("--shared", is_flag=True, help="Let the group of the home read and write it.")
@json_option
@pass_command_line
def init(line: CommandLine, shared: bool, as_json: bool) -> None:
    """Create the home and the database if they do not exist.

    Only you can read them, or with --shared your group, too; an existing home is opened to it.

    \b
    Example: branchtrack --home runs init
    """
    from branchtrack import permissions
    from branchtrack.db import schema

    with line.database(create=True, shared=shared) as database:
        if shared:
            line.config.share_home()
        facts = {
            "home": str(line.config.home),
            "database": database.shown_url,
            "schema": schema.revision(database),
        }
    if as_json:
        emit(facts)
    else:
        print_fields([(name, str(value)) for name, value in facts.items()])
    if warning := permissions.readers(line.config.home):
        echo(warning, err=True)


@click.command()
@click.argument("node")
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--raw",
    is_flag=True,
    help="Only weights and state, for a model that other libraries cannot open.",
)
@json_option
@pass_command_line
def export(line: CommandLine, node: str, target: Path, raw: bool, as_json: bool) -> None:
    """Write a NODE's checkpoint into DIR as files that other tools open.

    The folder must be empty or not exist. transformers' from_pretrained(DIR) opens it (or peft and
    SentenceTransformer(DIR), for their models), and a stock Trainer resumes from it. Each is opened
    as a test before the command succeeds.

    \b
    Example: branchtrack export 3fa9 exported
    """
    from branchtrack import control
    from branchtrack.checkpoints.export import export as export_checkpoint
    from branchtrack.cli.commands.storage import make_whole
    from branchtrack.db import nodes, segments
    from branchtrack.launching.export_completion import complete, needs_completion

    with line.database() as database:
        with database.read() as connection:
            node_record = nodes.find(connection, node)
            script = segments.get(connection, node_record.segment_id).script
        make_whole(line, database, node_record)
        # Of what nobody can rebuild the weights are exported.
        with database.read() as connection:
            stored = nodes.checkpoint(connection, node_record.state_digest, need="weights")
        with bar("Reading the checkpoint") as update:
            manifest = control.verify_node(
                database,
                line.store,
                node_record,
                lambda done, total: update(done, total, "bytes"),
                need="weights",
            )
            files = export_checkpoint(line.store, manifest, stored.locations, target, raw=raw)
        if not raw and needs_completion(manifest.state):
            with bar("Opening what was written"):
                files = complete(target, _facts(node_record, script))
    if as_json:
        emit(
            {"node": node_record.id, "target": str(target), "files": [str(path) for path in files]}
        )
        return
    for path in files:
        echo(str(path))


def _facts(node: Node, script: dict[str, Any] | None) -> dict[str, Any]:
    """Return the facts in a stock Trainer's files besides the state."""
    epochs = (script or {}).get("num_train_epochs")
    return {
        "step": node.step,
        "settings": node.settings,
        "param_groups": node.param_groups,
        "epochs": epochs,
    }


@click.group()
def db() -> None:
    """Maintain the database."""


@db.command()
@json_option
@pass_command_line
def upgrade(line: CommandLine, as_json: bool) -> None:
    """Upgrade an older database to this version.

    \b
    Example: branchtrack db upgrade
    """
    from branchtrack.db import schema
    from branchtrack.db.engine import Database
    from branchtrack.errors import DatabaseBehind

    try:
        with line.database() as database:
            revisions = {"before": schema.HEAD, "after": schema.HEAD}
            _make_pyramids(database)
    except DatabaseBehind:
        database = Database(line.config.database_url)
        try:
            schema.check_unused(database)
            before, after = schema.upgrade(database)
            _make_pyramids(database)
        finally:
            database.close()
        revisions = {"before": before or "", "after": after}
    if as_json:
        emit(revisions)
    elif revisions["before"] == revisions["after"]:
        echo(f"The database has schema {revisions['after']}, the newest; nothing was changed.")
    else:
        echo(
            f"The database was upgraded from schema {revisions['before']} to {revisions['after']}."
        )


def _make_pyramids(database: Database) -> None:
    """Make those that blocks of earlier versions lack; what was interrupted goes on."""
    from branchtrack.db.browsing import pyramids

    if database.read_only:
        return
    with database.read() as connection:
        total = pyramids.count_missing(connection)
    last = pyramids.START
    with bar("Preparing curves") as update:
        for done in range(0, total, pyramids.CHUNK):
            update(done, total, f"of {total} blocks")
            with database.transaction() as connection:
                last = pyramids.fill(connection, pyramids.CHUNK, last)
