"""The command `demo`: a real training that is steered and branched while the user watches."""

from __future__ import annotations

from typing import Any

import click

from branchtrack.cli.commands import trust
from branchtrack.cli.commands.serve import PORT, new_token, serve_pages
from branchtrack.cli.commands.show import print_tree
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import changes, emit, print_table
from branchtrack.cli.worker_options import Staff
from branchtrack.core import formats

_HOST = "127.0.0.1"


@click.command()
@click.option("--no-serve", is_flag=True, help="End when the training is done.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port of the pages; 0 takes any free one.",
)
@click.option(
    "--steps",
    type=click.IntRange(60, 100_000),
    default=200,
    show_default=True,
    help="Optimizer updates of each branch.",
)
@json_option
@pass_command_line
def demo(line: CommandLine, no_serve: bool, port: int, steps: int, as_json: bool) -> None:
    """Train a small GPT-2, steer it, branch it, and look at the tree.

    About two minutes on two cores; nothing is downloaded. Each call makes a new run.

    \b
    Example: branchtrack demo --no-serve
    """
    from branchtrack.cli.demo_run import Demonstration

    def say(text: str) -> None:
        if not as_json:
            click.echo(text)

    if not no_serve:
        _check_port(port)
    with line.database(create=True) as database:
        trust.require(line, database)
        result = Demonstration(line, database, steps, say).run()
    if as_json:
        emit(result)
    else:
        _print_result(result)
    if not no_serve:
        say("\nLook at it in the browser; Ctrl-C ends the server.")
        serve_pages(line, _HOST, port, new_token(), staff=Staff())


def _print_result(result: dict[str, Any]) -> None:
    click.echo()
    print_tree(result["tree"])
    click.echo()
    rows = [
        (
            branch["name"],
            formats.metric(branch["loss"]),
            formats.metric(branch["eval_loss"]),
            "; ".join(
                f"step {formats.steps(node['step'])}: {changes(node['changes'])}"
                for node in branch["changed"]
            ),
        )
        for branch in result["branches"]
    ]
    print_table(("BRANCH", "TRAIN", "HELD-OUT", "CHANGED"), rows, right="TRAIN HELD-OUT")
    run = result["run"]
    click.echo(f"\nTry: branchtrack diff {run}/main {run}/cooler, or branchtrack curve {run} loss")


def _check_port(port: int) -> None:
    """Fail now, and not after two minutes, if the pages cannot be served."""
    from branchtrack.web.serving.server import bind

    bind(_HOST, port).close()
