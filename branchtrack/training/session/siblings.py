"""The runs that one execution of a script created: which one is meant, and which are others.

It only reads, and begins nothing.
"""

from __future__ import annotations

from sqlalchemy import Connection

from branchtrack.core.exactness import Trial
from branchtrack.core.forks.merges import Merge
from branchtrack.core.records import Node, Run
from branchtrack.db import nodes, runs
from branchtrack.db.orders import launches
from branchtrack.training.session.ordinals import Order, Training


def target(connection: Connection, order: Order) -> tuple[Run, Node]:
    """Return the run and the node that a process was started to continue."""
    if order.trial is not None:
        node = nodes.get(connection, Trial.from_text(order.trial).start)
    elif order.merge is not None:
        node = nodes.get(connection, Merge.from_text(order.merge).a)
    else:
        node = nodes.get(connection, launches.get(connection, order.launch or "").node_id)
    return runs.get_run(connection, node.run_id), node


def of_process(connection: Connection, run: Run) -> list[Run]:
    """Return the runs of the execution of the script that created ``run``."""
    process = run.training.get("process")
    return [] if not process else runs.of_training(connection, process=process)


def is_meant(training: Training, run: Run, others: list[Run]) -> bool:
    """Return whether a training is the one of the run; ``others`` are those of its script."""
    meant = run.training
    if not meant:
        # Recorded by an earlier version, which took the first.
        return True
    if (meant["name"], meant["of_name"]) == (training.name, training.of_name):
        return True
    is_known = any(other.training["name"] == training.name for other in others)
    # A script may use another name each time it is started: a date, for instance.
    return not is_known and meant["number"] == training.number


def same(training: Training, others: list[Run]) -> Run | None:
    """Return the run of the same training in an earlier execution of the script."""
    named = [other for other in others if other.training["name"] == training.name]
    for other in named:
        if other.training["of_name"] == training.of_name:
            return other
    by_number = [other for other in others if other.training["number"] == training.number]
    return by_number[0] if by_number and not named else None
