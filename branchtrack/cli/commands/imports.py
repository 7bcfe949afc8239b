"""The command on checkpoint folders of a stock Trainer: import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, print_fields, visible
from branchtrack.cli.progress import bar
from branchtrack.core import formats


@click.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", metavar="RUN", help="Name of the run [the Trainer's output folder].")
@click.option("--weights-only", is_flag=True, help="Leave out optimizer, schedule and randomness.")
@click.option("--dry-run", is_flag=True, help="Only say what would be imported.")
@json_option
@pass_command_line
def import_folder(
    line: CommandLine,
    folder: Path,
    name: str | None,
    weights_only: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a stock Trainer's checkpoint folder DIR the first node of a new run.

    A folder of save_pretrained gives a node with weights alone. Its pickles are read as data only,
    and training_args.bin is never loaded. A script continues the node exactly with
    trainer.train(resume_from_node=NODE).

    \b
    Example: branchtrack import output/checkpoint-500 --name bert
    """
    from branchtrack.control import local_actor
    from branchtrack.launching import import_process

    if not dry_run:
        with line.database(create=True):
            pass
    with bar("Reading the folder"):
        imported = import_process.run(
            line.config,
            folder,
            name=name,
            weights_only=weights_only,
            dry_run=dry_run,
            actor=local_actor(),
        )
    if as_json:
        emit(imported)
    else:
        _print(imported)


def _print(imported: dict[str, Any]) -> None:
    is_exact, node = imported["mode"] == "exact", (imported["node"] or "NODE")[:8]
    verb = "Would import" if imported["dry_run"] else "Imported"
    what = "the whole state" if is_exact else "the weights"
    echo(f"{verb} {what} at step {imported['step']:,} as run {imported['run']}.")
    points = formats.plural(imported["points"], "point")
    tensors = formats.plural(imported["tensors"], "tensor")
    print_fields(
        [
            ("node", node if imported["node"] else "none yet"),
            ("state", f"{tensors}, {formats.size(imported['bytes'])}"),
            ("history", f"{points} of {formats.plural(len(imported['metrics']), 'metric')}"),
            *[("left out", f"{visible(n)}: {why}") for n, why in imported["left_out"].items()],
        ]
    )
    mode = "" if is_exact else ', mode="weights"'
    echo(f'Continue it in its script: trainer.train(resume_from_node="{node}"{mode})')
