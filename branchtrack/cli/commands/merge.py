"""The command `merge`: the weighted average of two nodes' weights, evaluated, as a new branch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli import origins
from branchtrack.cli.commands import trust
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.launch_options import order_asking
from branchtrack.cli.output import echo, emit, field_lines, pairs, styled, visible
from branchtrack.cli.progress import bar
from branchtrack.core import formats
from branchtrack.core.forks import merges

if TYPE_CHECKING:
    from branchtrack.control.merging import PlannedMerge
    from branchtrack.core.records import Node
    from branchtrack.db.engine import Database

#: Names of tensors that are printed; JSON has all.
_MOST = 8
_NOT_EVALUATED = (
    "nothing: the script offers no evaluation (a Trainer's eval_dataset, start(evaluate=...))"
)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option(
    "--weights",
    "shares",
    default=",".join(f"{share:g}" for share in merges.DEFAULT_WEIGHTS),
    show_default=True,
    metavar="A,B",
    help="The share of each, from 0 to 1, 1 in all.",
)
@click.option("--name", metavar="BRANCH", help="Name of the new branch [merge-1, merge-2, ...].")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record.")
@click.option(
    "--allow-code-change",
    is_flag=True,
    help="Merge although the script, its modules or packages have changed since.",
)
@click.option("--script", metavar="PATH", help="The script, if it has moved.")
@click.option("--cwd", metavar="DIR", help="The folder to start it in, if it has moved.")
@click.option("--dry-run", is_flag=True, help="Only check, and say what would be merged.")
@json_option
@pass_command_line
def merge(
    line: CommandLine, /, a: str, b: str, shares: str, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Average the weights of two nodes A and B of a run, as a new branch that can be resumed.

    A node is an id, RUN@STEP, RUN/BRANCH@STEP, or RUN/BRANCH for its last. The run's script is
    started to evaluate the average, and trains nothing; the new node has both parents, at the step
    of A. It is resumed with --mode weights: it has no optimizer. Floating-point tensors are
    averaged in float64; others that differ, such as counters, are those of A.

    \b
    Example: branchtrack merge demo/main demo/cooler --weights 0.3,0.7
    """
    weights = merges.parse_weights(shares)
    with line.database() as database:
        planned = _plan(line, database, (a, b), weights, dry_run, as_json, options)
        if dry_run:
            payload = _payload(planned) | {"created": False}
        else:
            payload = _payload(planned) | {"created": True, **_merge(line, database, planned)}
    if as_json:
        emit(payload)
    else:
        echo("\n".join(_lines(payload)))


def _plan(
    line: CommandLine,
    database: Database,
    refs: tuple[str, str],
    weights: tuple[float, float],
    dry_run: bool,
    quiet: bool,
    options: dict[str, Any],
) -> PlannedMerge:
    """Check the merge; nodes of which only a recipe is left are rebuilt first."""
    from branchtrack import control
    from branchtrack.cli.commands.storage import make_whole

    allowed = options.pop("allow_code_change")
    script, cwd = options.pop("script"), options.pop("cwd")
    command = origins.relocated_command(database, refs[0], script, cwd)
    if not dry_run:
        trust.require(line, database)
        for ref in refs:
            make_whole(line, database, ref, command)
    plan = partial(
        control.plan_merge,
        database,
        line.store,
        *refs,
        weights,
        actor=control.local_actor(),
        entry_point=command,
        rebuild=dry_run,
        **options,
    )
    return order_asking(plan, allowed, quiet)


def _merge(line: CommandLine, database: Database, planned: PlannedMerge) -> dict[str, Any]:
    """Have the merge made, and return what was recorded of it."""
    from branchtrack.cli.launch_progress import interrupts
    from branchtrack.core import capabilities
    from branchtrack.core.nonfinite import metric
    from branchtrack.db import nodes, runs, segments
    from branchtrack.launching import merging

    with bar("Merging"), interrupts() as received:

        def watch() -> None:
            if received:
                raise KeyboardInterrupt

        node: Node = merging.merge(database, line.config, planned, watch)
    with database.read() as connection:
        segment = segments.get(connection, node.segment_id)
        stored = nodes.checkpoint(connection, node.state_digest, need="weights")
        return {
            "node": node.id,
            "branch": runs.get_branch(connection, node.branch_id).name,
            "state_digest": node.state_digest,
            "evaluated": capabilities.read(segment.offers).evaluates,
            "metrics": {name: metric(value) for name, value in node.metrics.items()},
            "stored_bytes": stored.stored_bytes,
        }


def _payload(planned: PlannedMerge) -> dict[str, Any]:
    return {
        "node": None,
        "branch": planned.name,
        "parents": [planned.a.id, planned.b.id],
        "steps": [planned.a.step, planned.b.step],
        "step": planned.a.step,
        "weights": list(planned.weights),
        "message": planned.message,
        "averaged": [merges.shown(name) for name in planned.averaged],
        "from_a": [merges.shown(name) for name in planned.unaveraged],
        "shared": planned.shared,
        "new_bytes": planned.nbytes,
        "rebuilds": list(planned.thinned),
    }


def _lines(payload: dict[str, Any]) -> list[str]:
    a, b = (f"node {node[:8]}, step {formats.steps(step)}" for node, step in _parents(payload))
    fields = [
        ("a", f"{a}, weight {payload['weights'][0]:g}"),
        ("b", f"{b}, weight {payload['weights'][1]:g}"),
        ("step", f"{formats.steps(payload['step'])}, that of a"),
        ("averaged", f"{formats.plural(len(payload['averaged']), 'tensor')}, in float64"),
        ("the same in both", formats.plural(payload["shared"], "tensor")),
    ]
    if payload["from_a"]:
        names = ", ".join(payload["from_a"][:_MOST])
        more = len(payload["from_a"]) - _MOST
        fields.append(("taken from a", names + (f" and {more} more" if more > 0 else "")))
    if payload["rebuilds"]:
        thinned = ", ".join(node[:8] for node in payload["rebuilds"])
        fields.append(("rebuilt first", f"{thinned}: retention has left the recipe"))
    if not payload["created"]:
        fields.append(("would store", f"about {formats.size(payload['new_bytes'])}"))
        return [*field_lines(fields), "Nothing was created: this was a dry run."]
    node = f"{styled(payload['node'], bold=True)} of {visible(payload['branch'])}"
    shown = {name: formats.metric(value) for name, value in payload["metrics"].items()}
    evaluated = pairs(shown) or "no number"
    fields = [
        ("node", node),
        *fields,
        ("evaluated", evaluated if payload["evaluated"] else _NOT_EVALUATED),
        ("stored", formats.size(payload["stored_bytes"])),
        ("train from it", f"branchtrack resume {payload['node'][:8]} --mode weights"),
    ]
    return field_lines(fields)


def _parents(payload: dict[str, Any]) -> list[tuple[str, int]]:
    return list(zip(payload["parents"], payload["steps"], strict=True))
