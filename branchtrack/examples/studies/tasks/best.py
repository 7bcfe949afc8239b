"""What the best node of a run has on the test, measured at the end of a training.

Controllers see the validation loss alone. The test loss is that of the node which is best by it,
wherever in the tree that is: its weights are read back from its checkpoint.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch
from sqlalchemy import Connection

from branchtrack import config
from branchtrack.checkpoints import location
from branchtrack.core.records import Segment
from branchtrack.db import nodes, segments
from branchtrack.db.engine import Database
from branchtrack.examples.studies import recorded
from branchtrack.training.record import commits
from branchtrack.training.state import snapshots

#: Seconds between two looks for the newest node, and in which it has to be durable.
_LOOK, _PATIENCE = 0.05, 60.0


def measure(
    model: torch.nn.Module, test: Callable[[], float], loss: float, newest: int
) -> dict[str, float]:
    """Return ``best_loss`` and ``test_loss`` of the best node so far, or of the model as it is.

    ``loss`` is the model's own validation loss, whose node is yet to come, and ``newest`` the step
    of the last evaluation before. The model is left as it was.
    """
    settings = config.load()
    database = Database(settings.database_url)
    try:
        best = _best(database, newest)
        if best is None or not best.loss <= recorded.rank(loss):
            return {"best_loss": loss, "test_loss": test()}
        with database.read() as connection:
            stored = nodes.checkpoint(connection, best.node.state_digest)
    finally:
        database.close()
    snapshot = commits.load(location.open_store(settings.store), stored, best.node)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    snapshots.give_weights(model, snapshot)
    try:
        return {"best_loss": best.loss, "test_loss": test()}
    finally:
        model.load_state_dict(own)


def _best(database: Database, newest: int) -> recorded.Best | None:
    """Return the best node of this process's run, once that of step ``newest`` is durable."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        with database.read() as connection:
            own = segments.of_process(connection, os.getpid(), 0.0)
            if own is None:
                raise SystemExit("This training is not recorded.")
            if _has(connection, own, newest) or time.monotonic() > deadline:
                return recorded.best_node(connection, segments.list_of_run(connection, own.run_id))
        time.sleep(_LOOK)


def _has(connection: Connection, segment: Segment, step: int) -> bool:
    """Return whether a segment has a node of this step or of a later one, or began there."""
    start = segment.start_node_id
    if start is not None and nodes.find(connection, start).step >= step:
        return True
    return any(node.step >= step for node in nodes.of_segment(connection, segment.id))
