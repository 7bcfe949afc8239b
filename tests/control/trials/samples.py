"""A run whose trials are trained by nobody: the test says what each training came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.advancing import advance
from branchtrack.control.trials.ordering import create_trial
from branchtrack.control.trials.planning import TrialOrder
from branchtrack.core.builtin_settings import BUILT_IN, MAX_STEPS, SEED
from branchtrack.core.records import Change, NewNode, Node
from branchtrack.core.trials.records import Trial
from branchtrack.db import metrics, nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, trials
from tests.trees_for_tests import SETTINGS, Tree, add_checkpoint, make_tree
from tests.web.seeds import Line

DECLARED = [setting.as_dict() for setting in (*BUILT_IN, SEED, MAX_STEPS)]
OWN = {**SETTINGS, "seed": 0, "max_steps": 1000}


def grown(database: Database, store: Store, name: str = "demo") -> tuple[Tree, list[Node]]:
    """A run with nodes at 0, 10 and 20, the last of which made the lr 0.02; and its eval_loss."""
    tree = make_tree(database, store, name)
    segment = tree.segment("main").id
    with database.transaction() as connection:
        connection.execute(
            segments.segments.update()
            .where(segments.segments.c.id == segment)
            .values(declared=DECLARED, settings=OWN)
        )
        segments.seals.renew(connection, segments.segments, segment)
    root = tree.node("main", 0, kind="root", settings=OWN)
    ten = tree.node("main", 10, root, settings=OWN, values={"eval_loss": 2.0})
    change = (Change("lr", 0.01, 0.02),)
    raised = {**OWN, "lr": 0.02}
    twenty = tree.node("main", 20, ten, kind="intervention", changes=change, settings=raised)
    tree.points("main", "eval_loss", range(1, 31))
    return tree, [root, ten, twenty]


def seeded(line: Line, step: int = 50) -> Node:
    """A checkpoint of a line from which a seed, too, can be changed, with an intervention on lr."""
    with line.grower.database.transaction() as connection:
        connection.execute(
            segments.segments.update()
            .where(segments.segments.c.id == line.segment.id)
            .values(declared=DECLARED)
        )
        segments.seals.renew(connection, segments.segments, line.segment.id)
    # The lines of a test share their settings with those of others.
    line.settings = {**line.settings, "seed": 0, "max_steps": 1000}
    line.commit("intervention", step, {"lr": 1e-3}, loss=0.5)
    return line.commit("checkpoint", step + 1, loss=0.5)


def ordered(database: Database, store: Store, **order: Any) -> Trial:
    """A trial of lr=x0.5 at step 10, unless it is said otherwise."""
    plan: dict[str, Any] = {"nodes": ["demo@10"], "steps": 5, "repeats": 4, "metric": "eval_loss"}
    if not any(order.get(name) for name in ("same", "intervention", "grid", "settings")):
        plan["settings"] = {"lr": "x0.5"}
    return create_trial(database, store, TrialOrder(**{**plan, **order}), actor="ann")


def train(
    database: Database,
    store: Store,
    launch_id: str,
    value: float | None,
    *,
    state: int = 0,
    seed: int | None = None,
) -> None:
    """Carry out a launch: it takes its segment, trains to its stop and logs the metric there.

    ``state`` tells its weights from others, ``seed`` the rest of its state.
    """
    with database.read() as connection:
        launch = launches.get(connection, launch_id)
        fork = nodes.get(connection, launch.fork_node_id)
    stop = int(launch.overrides["stop_at"])
    digest = add_checkpoint(database, store, state or int(launch.seq) * 1000 + stop, seed)
    with database.transaction() as connection:
        launches.move(connection, launch.id, "starting", "w", worker="w")
        launches.move(connection, launch.id, "running", "w", pid=1)
        facts: Mapping[str, Any] = {"declared": DECLARED, "settings": OWN, "max_steps": 1000}
        segments.take(connection, launch.segment_id, actor="w", **facts)
        point = ("eval_loss", stop, float("nan") if value is None else value, 1e9)
        metrics.append(connection, launch.segment_id, [point])
        final = NewNode(
            run_id=fork.run_id,
            branch_id=fork.branch_id,
            segment_id=fork.segment_id,
            parent_id=fork.id,
            step=stop,
            epoch=0.0,
            kind="final",
            state_digest=digest,
            settings=fork.settings,
            param_groups=fork.param_groups,
            actor="w",
            environment={},
        )
        nodes.commit(connection, final)
        segments.end(connection, launch.segment_id, "stopped", actor="w")
        launches.move(connection, launch.id, "ended", "w", exit_code=0)


def fail(database: Database, launch_id: str, error: str = "It was killed.") -> None:
    """Have the process of a launch die."""
    with database.transaction() as connection:
        launches.move(connection, launch_id, "starting", "w", worker="w")
        launches.move(connection, launch_id, "failed", "w", error=error)


def train_all(database: Database, store: Store, trial: Trial, *values: Any) -> Trial:
    """Train every side that is ordered: a row of values for each pair, the control's first."""
    for pair, row in zip(open_pairs(trial), values, strict=True):
        for side, value in zip((s for s in pair.sides if s), row, strict=True):
            train(database, store, side.launch, value)
    return advance(database, store, trial.id)


def branches_of(trial: Trial) -> list[str]:
    """The names that a trial's branches were ordered by."""
    return [side.branch for pair in trial.pairs for side in pair.sides if side and side.branch]


def open_pairs(trial: Trial) -> list[Any]:
    """The pairs that are not over."""
    return [pair for pair in trial.pairs if not pair.is_over]


def reread(database: Database, trial: Trial) -> Trial:
    """The trial as it is now."""
    with database.read() as connection:
        return trials.get(connection, trial.id)


def branch_count(database: Database) -> int:
    """How many branches the run has."""
    with database.read() as connection:
        run = runs.find_run(connection, "demo")
        return len(runs.list_branches(connection, run.id))
