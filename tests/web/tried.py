"""Trials for tests of pages: their rows and branches are made, their verdicts are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from branchtrack.core.builtin_settings import BUILT_IN, SEED
from branchtrack.core.records import Node
from branchtrack.core.trials import looks
from branchtrack.core.trials.outcomes import judged
from branchtrack.core.trials.records import (
    CHANGE,
    DIVERGED,
    DONE,
    GROUP,
    ORDERED,
    RUNNING,
    SETTLED,
    Arm,
    Pair,
    Side,
    Spec,
    Trial,
)
from branchtrack.db.orders import groups, trials
from branchtrack.db.tables import segments
from tests.web.seeds import Grower, Line

#: What a side without a value is: still training, or diverged.
TRAINS, NAN = None, float("nan")


def make_trial(
    grower: Grower,
    node: Node,
    pairs: Sequence[Sequence[float | None]],
    *,
    arms: Sequence[Arm] = (Arm("lr=x0.9", {"lr": "x0.9"}),),
    state: str = SETTLED,
    group: str = "trial-lr-x0.9",
    repeats: int = 0,
    is_grown: bool = True,
    **facts: Any,
) -> Trial:
    """A trial from a node with the values of its pairs: the control's, and that of each change.

    A value may be `TRAINS` or `NAN`. Without ``is_grown`` the branches are only named.
    """
    chosen = {name: facts.pop(name) for name in ("kind", "subject", "actor") if name in facts}
    error, reason = facts.pop("error", ""), facts.pop("reason", "why not")
    spec = _spec(node, arms, repeats or max(3, len(pairs)), facts)
    with grower.database.transaction() as connection:
        made = groups.create(connection, grower.run.id, group, GROUP, actor="anna")
        trial = trials.create(
            connection,
            grower.run.id,
            spec,
            group_id=made.id,
            **{"kind": CHANGE, "subject": None, "actor": "anna", **chosen},
            reason=reason,
        )
    listed = [
        _pair(grower, node, trial, made.name[:66], number, values, is_grown)
        for number, values in enumerate(pairs, 1)
    ]
    verdicts = [None] * len(arms) if state == RUNNING else judged(trial, listed)
    with grower.database.transaction() as connection:
        saved = trials.save(
            connection,
            trial,
            pairs=listed,
            verdicts=verdicts,
            state=state,
            error=error,
            actor="trial",
        )
    assert saved is not None
    return saved


def _spec(node: Node, arms: Sequence[Arm], repeats: int, facts: dict[str, Any]) -> Spec:
    at = looks.looks(repeats)
    return Spec(
        nodes=(node.id,),
        arms=tuple(arms),
        steps=100,
        repeats=repeats,
        at=at,
        levels=tuple(0.02 for _ in at),
        **{"metric": "loss", **facts},
    )


def _pair(
    grower: Grower,
    node: Node,
    trial: Trial,
    stem: str,
    number: int,
    values: Sequence[float | None],
    is_grown: bool,
) -> Pair:
    sides = [
        _side(grower, node, trial, f"{stem}-{_word(index)}-{number}", value, is_grown)
        for index, value in enumerate(values)
    ]
    return Pair(number, node.id, node.step, 1000 + number, tuple(sides))


def _word(index: int) -> str:
    return "control" if index == 0 else f"changed{index}"


def _side(
    grower: Grower, node: Node, trial: Trial, name: str, value: float | None, is_grown: bool
) -> Side:
    side = Side("", "", name)
    if is_grown:
        line = _grown(grower, node, trial, name)
        side = Side("", line.branch.id, name)
    if value is TRAINS:
        return replace(side, state=ORDERED)
    if value != value:
        return replace(side, state=DIVERGED, digest=f"state of {name}")
    return replace(side, state=DONE, value=value, digest=f"state of {value}")


def _grown(grower: Grower, node: Node, trial: Trial, name: str) -> Line:
    line = grower.fork(node, name)
    line.log("loss", [node.step + 1, node.step + 100], [2.0, 1.9])
    line.end("finished")
    with grower.database.transaction() as connection:
        group = next(g for g in groups.of_run(connection, grower.run.id) if g.id == trial.group_id)
        groups.add_branch(connection, group, line.branch)
    return line


def declare_seed(line: Line) -> None:
    """Have a branch's process declare a seed, without which repeats would be the same."""
    known = [setting.as_dict() for setting in (*BUILT_IN, SEED)]
    line.settings = {**line.settings, SEED.name: 7}
    with line.grower.database.transaction() as connection:
        connection.execute(
            segments.update().where(segments.c.id == line.segment.id).values(declared=known)
        )
