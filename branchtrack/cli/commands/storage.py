"""Commands on what the store holds: storage, gc, pin, unpin, rebuild."""

from __future__ import annotations

import gc as collector
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli import origins
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, print_fields, print_table
from branchtrack.cli.progress import bar
from branchtrack.core import formats

if TYPE_CHECKING:
    from branchtrack.core.records import Node, Run
    from branchtrack.db.engine import Database
    from branchtrack.launching.rebuilding import Stretch
    from branchtrack.retention.plans import Plan
    from branchtrack.retention.policies import Policy
    from branchtrack.retention.report import Report
    from branchtrack.retention.sweeps import Swept


_ON_TOP = click.option(
    "--on-top", is_flag=True, help="Pin a run or branch above the others in lists."
)


@click.command()
@click.option("--upload", is_flag=True, help="Upload what killed processes left on this machine.")
@click.option("--check", is_flag=True, help="Only try whether the bucket does what a store needs.")
@json_option
@pass_command_line
def storage(line: CommandLine, upload: bool, check: bool, as_json: bool) -> None:
    """Show what runs and branches take up, and what deleting a branch would free.

    Bytes that branches share count for each of them. `branchtrack gc` removes what is unused and
    what killed processes left. A home whose packs are in a bucket (BRANCHTRACK_STORE) also has
    commits that wait to be uploaded.

    \b
    Example: branchtrack storage
    """
    from branchtrack.checkpoints.remote import spool
    from branchtrack.control import leftovers
    from branchtrack.control.store import spooled
    from branchtrack.retention import report as reports

    if check:
        return _check(line, as_json)
    with line.database() as database:
        if upload:
            words = spooled.finish(database, line.store)
            if not as_json:
                echo(words or "Nothing was left on this machine.")
        with _uncollected(), database.read() as connection:
            report = reports.report(connection, line.config.home)
        left = leftovers.nbytes(database, line.store, report.packs)
    is_away, (commits, nbytes) = line.store.copies is not None, spool.waiting(line.config.home)
    if as_json:
        waiting = {"waiting": {"commits": commits, "bytes": nbytes}} if is_away else {}
        emit({**reports.as_json(report, left), **waiting})
        return
    _print_report(report)
    fields = [
        ("stored", formats.size(report.stored_bytes)),
        ("unused", formats.size(report.unused_bytes)),
        ("left by killed processes", formats.size(left)),
        ("free on the disk", formats.size(report.free_bytes)),
    ]
    if is_away:
        words = f"{formats.plural(commits, 'commit')}, {formats.size(nbytes)}"
        fields = [("bucket", line.store.describe()), *fields, ("wait to be uploaded", words)]
    print_fields(fields)


def _check(line: CommandLine, as_json: bool) -> None:
    """Try what the bucket has to do, and say what is wrong.

    Raises:
        InvalidInput: the packs of the home are in a folder.
        SystemExit: something is wrong.
    """
    from branchtrack.environment_variables import STORE_VARIABLE
    from branchtrack.errors import InvalidInput

    copies = line.store.copies
    if copies is None:
        allowed = f"a home whose packs are in a bucket, see {STORE_VARIABLE}"
        raise InvalidInput("check", line.store.describe(), allowed)
    results = copies.check()
    if as_json:
        emit(
            {
                "store": line.store.describe(),
                "checks": [dict(zip(("what", "wrong"), r, strict=True)) for r in results],
            }
        )
    else:
        echo(line.store.describe())
        for what, wrong in results:
            echo(f"  {what}: {wrong or 'works'}")
    if any(wrong for _, wrong in results):
        raise SystemExit(1)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Do not search for cycles among the many small values of a large tree: there are none."""
    collector.disable()
    try:
        yield
    finally:
        collector.enable()


def _print_report(report: Report) -> None:
    rows = []
    for run in report.runs:
        for name, usage in [(run.usage.name, run.usage)] + [
            (f"  {b.name}", b) for b in run.branches
        ]:
            name += " (trash)" if usage.trashed else ""
            sizes = (usage.logical_bytes, usage.stored_bytes, usage.frees)
            policy = run.policy.words if usage is run.usage else ""
            counts = [f"{usage.nodes:,}", f"{usage.thinned:,}"]
            rows.append([name, *counts, *map(formats.size, sizes), policy])
    headers = ["run, branch", "nodes", "thinned", "logical", "stored", "frees", "policy"]
    print_table(headers, rows, right="nodes thinned logical stored frees")


@click.command()
@click.argument("run", required=False)
@click.option("--keep", help="all, thin (rebuilt on demand) or heads; stays with the run.")
@click.option("--keep-last", metavar="N", help="Keep the newest N nodes of each branch.")
@click.option(
    "--keep-best",
    nargs=2,
    metavar="METRIC K",
    help="Keep the K nodes with the best values; METRIC:min or :max says which these are.",
)
@click.option("--every", metavar="K", help="Keep nodes at steps that are multiples of K.")
@click.option(
    "--drop-optimizer-after",
    metavar="N",
    help="Keep only the weights of nodes N steps or more before the head of their branch.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be thinned and freed.")
@json_option
@pass_command_line
def gc(line: CommandLine, /, run: str | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Thin the checkpoints of a RUN, or of every run with a policy, and free what is unused.

    Without options each run's own policy applies, which keeps everything until another is given.
    thin keeps roots, forks, heads, pinned nodes and the best; of others the recipe if their process
    is certified exact, else the weights. Nothing that a child, a pin or a launch needs is thinned.
    An interrupted sweep does no harm; the next one finishes it. What has been in the trash for its
    time is purged first.

    \b
    Example: branchtrack gc demo --keep thin --every 100 --dry-run
    """
    from branchtrack.db import runs

    policy = _policy(options)
    if policy is not None and run is None:
        raise click.UsageError("Give the RUN that the policy is for.")
    with line.database() as database:
        with database.read() as connection:
            chosen = [runs.find_run(connection, run)] if run else runs.with_policy(connection)
        if dry_run:
            results = [_plan(database, item, policy) for item in chosen]
            payload: dict[str, Any] = {"runs": results, "dry_run": True, "leftovers": ""}
            payload["purged"] = _due(database)
        else:
            purged = _purge_due(database)
            results = [_sweep(line, database, item, policy) for item in chosen]
            removed = _clear(line, database, swept=bool(chosen))
            payload = {"runs": results, "dry_run": False, "purged": purged, **removed}
    if as_json:
        emit(payload)
    else:
        _print_sweeps(payload)


def _policy(options: dict[str, Any]) -> Policy | None:
    """Return the policy that options spell; None if there are none."""
    from branchtrack.retention import policies

    if not any(value is not None for value in options.values()):
        return None
    return policies.policy(
        "all" if options["keep"] is None else options["keep"],
        last=options["keep_last"],
        best=options["keep_best"],
        every=options["every"],
        drop_optimizer_after=options["drop_optimizer_after"],
    )


def _due(database: Database) -> list[str]:
    """Return the names of what a sweep would purge now."""
    from branchtrack.db.deletion import trash

    with database.read() as connection:
        return [entry.name for entry in trash.list_due(connection)]


def _purge_due(database: Database) -> list[str]:
    from branchtrack.control import deletion, local_actor

    return [entry.name for entry in deletion.purge_due(database, actor=local_actor())]


def _plan(database: Database, run: Run, policy: Policy | None) -> dict[str, Any]:
    from branchtrack.retention import plans, policies

    with _uncollected(), database.read() as connection:
        policy = policies.from_json(run.retention) if policy is None else policy
        return _as_json(plans.plan(connection, run.id, policy))


def _sweep(
    line: CommandLine, database: Database, run: Run, policy: Policy | None
) -> dict[str, Any]:
    from branchtrack import processes
    from branchtrack.control import leftovers, local_actor
    from branchtrack.retention import policies
    from branchtrack.retention.sweeps import Sweep

    owner = leftovers.pack_owner(database, line.store, processes.own_name())
    policy = policies.from_json(run.retention) if policy is None else policy
    with bar(f"Sweeping {run.name}") as update:

        def progress(done: int, total: int) -> None:
            update(done, total, f"of {total} packs")

        swept = Sweep(database, line.store, owner, local_actor(), progress).run(run, policy)
    return _as_json(swept.plan, swept)


def _clear(line: CommandLine, database: Database, *, swept: bool) -> dict[str, Any]:
    """Remove what killed processes and interrupted sweeps left."""
    from branchtrack import processes
    from branchtrack.control import leftovers, local_actor
    from branchtrack.retention.sweeps import Sweep

    freed = 0
    if not swept:
        owner = leftovers.pack_owner(database, line.store, processes.own_name())
        freed, _ = Sweep(database, line.store, owner, local_actor()).collect()
    nbytes = leftovers.nbytes(database, line.store)
    words = leftovers.clear(database, line.store)
    return {"leftovers": words, "leftover_bytes": nbytes if words else 0, "unused_bytes": freed}


def _as_json(plan: Plan, swept: Swept | None = None) -> dict[str, Any]:
    counts = {kind: list(plan.left.values()).count(kind) for kind in ("recipe", "weights")}
    return {
        "run": plan.run.name,
        "policy": plan.policy.as_json(),
        "words": plan.policy.words,
        **counts,
        "freed_bytes": plan.freed_bytes if swept is None else swept.freed_bytes,
        "longest_rebuild": plan.longest,
        "branches": [vars(branch) for branch in plan.branches],
        "kept": dict(plan.why),
        "unreadable": [] if swept is None else list(swept.unreadable),
    }


def _print_sweeps(payload: dict[str, Any]) -> None:
    are, is_ = ("would be",) * 2 if payload["dry_run"] else ("were", "was")
    for run in payload["runs"]:
        echo(f"{run['run']}: {run['words']}")
        rows = [
            [f"  {b['name']}", *(f"{b[n]:,}" for n in ("nodes", "whole", "weights", "recipe"))]
            + [formats.size(b["frees"])]
            for b in run["branches"]
        ]
        headers = ["  branch", "nodes", "whole", "weights", "recipe", "frees"]
        print_table(headers, rows, right="nodes whole weights recipe frees")
        count = run["recipe"] + run["weights"]
        states, freed = formats.plural(count, "state"), formats.size(run["freed_bytes"])
        echo(f"  {states} {is_ if count == 1 else are} thinned, {freed} {is_} freed.")
        if run["longest_rebuild"]:
            updates = formats.plural(run["longest_rebuild"], "update")
            echo(f"  Rebuilding one takes {updates} at most.")
        for pack in run["unreadable"]:
            echo(
                f"  The pack {pack} cannot be read, and stays as it is: `branchtrack verify --all`."
            )
    for name in payload["purged"]:
        echo(f"{name} {is_} purged: it has been in the trash for its time.")
    if not payload["runs"]:
        echo("No run has a policy: nothing is thinned. `branchtrack gc RUN --keep thin` gives one.")
    if payload.get("unused_bytes"):
        echo(f"{formats.size(payload['unused_bytes'])} that interrupted sweeps left was freed.")
    if payload["leftovers"]:
        echo(payload["leftovers"])


@click.command()
@click.argument("node", metavar="NODE|RUN|RUN/BRANCH")
@_ON_TOP
@json_option
@pass_command_line
def pin(line: CommandLine, node: str, on_top: bool, as_json: bool) -> None:
    """Keep the checkpoint of a NODE whatever the policy of its run.

    With --on-top it is a run or a branch that is pinned: lists show it above the others.

    \b
    Example: branchtrack pin 3fa9
             branchtrack pin demo/cooler --on-top
    """
    _pin(line, node, True, on_top, as_json)


@click.command()
@click.argument("node", metavar="NODE|RUN|RUN/BRANCH")
@_ON_TOP
@json_option
@pass_command_line
def unpin(line: CommandLine, node: str, on_top: bool, as_json: bool) -> None:
    """Let the policy of its run decide on a NODE again; with --on-top, list a run as the others.

    \b
    Example: branchtrack unpin 3fa9
    """
    _pin(line, node, False, on_top, as_json)


def _pin(line: CommandLine, ref: str, pinned: bool, on_top: bool, as_json: bool) -> None:
    from branchtrack.cli.commands.labels import change_labels

    if on_top:
        change_labels(line, ref, as_json, pinned=pinned)
    else:
        _set_pinned(line, ref, pinned, as_json)


def _set_pinned(line: CommandLine, ref: str, pinned: bool, as_json: bool) -> None:
    from branchtrack.control import local_actor
    from branchtrack.db import nodes
    from branchtrack.retention import pins

    with line.database() as database:
        with database.read() as connection:
            node = nodes.find(connection, ref)
        changed = pins.set_pinned(database, node.id, pinned, local_actor())
    state = "pinned" if pinned else "not pinned"
    if as_json:
        emit({"node": node.id, "pinned": pinned, "changed": changed})
    else:
        echo(f"Node {node.id[:8]} {'is' if changed else 'was already'} {state}.")


@click.command()
@click.argument("node")
@click.option("--script", metavar="PATH", help="The script, if it has moved.")
@click.option("--cwd", metavar="DIR", help="The folder to start it in, if it has moved.")
@json_option
@pass_command_line
def rebuild(
    line: CommandLine, node: str, script: str | None, cwd: str | None, as_json: bool
) -> None:
    """Train to a thinned NODE again, and store its checkpoint if it is the same bit for bit.

    It begins at the nearest whole node before it, and makes the recorded changes again. If the
    state differs nothing is stored, and the exit code is 1.

    \b
    Example: branchtrack rebuild 3fa9
    """
    from branchtrack.db import nodes

    with line.database() as database:
        with database.read() as connection:
            record = nodes.find(connection, node)
        command = origins.relocated_command(database, record.id, script, cwd)
        stretch = make_whole(line, database, record, command)
        with database.read() as connection:
            nodes.check_left(connection, record.state_digest, "all")
    if as_json:
        facts = {"start": stretch.start.id, "updates": stretch.updates} if stretch else {}
        done = {"node": record.id, "state_digest": record.state_digest, "rebuilt": bool(stretch)}
        emit({**done, "start": None, "updates": 0, **facts})
    elif stretch is None:
        echo(f"Node {record.id[:8]} is whole already.")
    else:
        updates = formats.plural(stretch.updates, "update")
        echo(f"Node {record.id[:8]} was rebuilt in {updates}: its state is as recorded.")


def make_whole(
    line: CommandLine,
    database: Database,
    node: Node | str,
    entry_point: dict[str, Any] | None = None,
) -> Stretch | None:
    """Rebuild a node of which only the recipe is left; return what was trained for it, if anything.

    ``entry_point`` is the command, if it is not the run's own.

    Raises:
        CheckpointThinned, CheckpointMismatch, LaunchFailed, UntrustedHome: it was not rebuilt.
    """
    from branchtrack.cli.commands import trust
    from branchtrack.cli.launch_progress import interrupts
    from branchtrack.db import nodes
    from branchtrack.launching import rebuilding

    with database.read() as connection:
        record = nodes.find(connection, node) if isinstance(node, str) else node
        if nodes.thinned(connection, record.state_digest) != "recipe":
            return None
        stretch = rebuilding.stretch(connection, record)
    if stretch is None:
        return None
    trust.require(line, database)
    first, last, start = stretch.start.step, stretch.target.step, stretch.start.id[:8]
    updates = formats.plural(stretch.updates, "update")
    echo(f"Rebuilding node {record.id[:8]} in {updates} from node {start}.", err=True)
    with bar("Training again") as update, interrupts() as received:

        def watch(step: int | None) -> None:
            if received:
                raise KeyboardInterrupt
            note = "starting" if step is None else f"step {step} of {last}"
            update(0 if step is None else step - first, last - first, note)

        rebuilding.rebuild(database, line.config, stretch, watch, entry_point)
    return stretch
