"""The command `data`: the shards that a branch trains from, and their change while it trains."""

from __future__ import annotations

import os
from typing import Any

import click

from branchtrack.cli.context import CommandLine
from branchtrack.cli.output import echo, emit, print_table, styled
from branchtrack.cli.request_options import request_options, send_request
from branchtrack.cli.text_art import share_bar
from branchtrack.core import formats


@click.command()
@click.argument("run", metavar="RUN|RUN/BRANCH")
@click.option("--add", multiple=True, metavar="NAME=PATH", help="A file or folder to add.")
@click.option("--remove", multiple=True, metavar="NAME", help="A shard to remove.")
@click.option("--weight", "weights", multiple=True, metavar="NAME=W", help="Another weight.")
@click.option(
    "--fingerprint",
    "fingerprints",
    multiple=True,
    metavar="NAME=SHA256",
    help="What the content of an added one must be.",
)
@request_options
def data(
    line: CommandLine,
    run: str,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    weights: tuple[str, ...],
    fingerprints: tuple[str, ...],
    **options: Any,
) -> None:
    """Show the shards that a branch has trained from, or change them while it trains.

    Without an option it lists them, with the samples trained on of each up to the newest node, and
    since the branch began (own).

    \b
    Example: branchtrack data demo/main
             branchtrack data demo --add chat=chat.jsonl --weight chat=0.5
             branchtrack data demo --remove code --reason "enough of it"
    """
    if not (add or remove or weights or fingerprints):
        _show(line, run, options["as_json"])
        return
    from branchtrack.core.settings import parse_assignments
    from branchtrack.core.shards.composition import parse_weights

    paths = parse_assignments(add, "add")
    fields = {
        "add": {name: os.path.abspath(path) for name, path in paths.items()},
        "remove": list(remove),
        "weights": parse_weights(parse_assignments(weights, "weights")),
        "fingerprints": parse_assignments(fingerprints, "fingerprints"),
    }
    payload = {"kind": "data", **{name: value for name, value in fields.items() if value}}
    send_request(line, run, payload, **options)


def _show(line: CommandLine, branch_ref: str, as_json: bool) -> None:
    from branchtrack.analysis.payloads_shards import branch_data
    from branchtrack.core.shards.composition import NO_SHARDS
    from branchtrack.db.runs import find_branch

    with line.read() as connection:
        facts = branch_data(connection, find_branch(connection, branch_ref))
    if as_json:
        emit(facts)
        return
    if not facts["shards"]:
        echo(NO_SHARDS if facts["node"] else f"{facts['branch']} has no node yet.")
        return
    head = f"{facts['samples']:,} samples up to step {formats.steps(facts['step'])}"
    echo(styled(f"{facts['branch']}", bold=True) + f", {head}")
    rows = [_row(shard, facts["samples"]) for shard in facts["shards"]]
    headers = ("shard", "weight", "share", "items", "samples", "", "own", "passes", "fingerprint")
    print_table(headers, rows, right="weight share items samples own passes")
    if len(facts["changes"]) > 1:
        echo()
        for change in facts["changes"]:
            echo(f"from step {formats.steps(change['step'])}  {change['value'] or formats.NOTHING}")


def _row(shard: dict[str, Any], total: int) -> tuple[str, ...]:
    share = formats.NOTHING if shard["share"] is None else f"{shard['share']:.1%}"
    weight = "removed" if shard["weight"] is None else formats.setting(shard["weight"])
    return (
        shard["name"],
        weight,
        share,
        f"{shard['count']:,}",
        f"{shard['samples']:,}",
        share_bar(shard["samples"] / total if total else 0.0),
        f"{shard['own_samples']:,}",
        f"{shard['passes']:.2f}",
        shard["fingerprint"][:12],
    )
