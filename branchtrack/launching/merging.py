"""A merge, made by a process of its own and watched until it ends.

All that remains of the process is the branch that it committed, or its log if it failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from tempfile import TemporaryDirectory

from branchtrack.config import Config
from branchtrack.control.merging import PlannedMerge
from branchtrack.core.records import Node
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.environment_variables import MERGE_VARIABLE
from branchtrack.errors import NotFound
from branchtrack.launching import certification


def merge(
    database: Database, config: Config, planned: PlannedMerge, watch: Callable[[], None]
) -> Node:
    """Start the script of two nodes to commit the average of their weights, and return its node.

    Raises:
        LaunchFailed: the process cannot be started, or ended without a node; nothing is recorded.
        Whatever ``watch`` raises ends the process.
    """
    order = planned.order(os.getpid())
    log = config.logs / f"merge-{order.branch}.log"
    with TemporaryDirectory(prefix="branchtrack-") as folder:
        extra = {MERGE_VARIABLE: order.to_text(), "TMPDIR": folder}
        exit_code = certification.attend(
            database, config, planned.a, extra, log, watch, planned.command, alone=True
        )
    with database.read() as connection:
        try:
            head = runs.get_branch(connection, order.branch).head_id
        except NotFound:
            aim = "the training that it was started for"
            what = "The nodes were not merged."
            raise certification.failure(what, exit_code, log, aim) from None
        node = nodes.get(connection, head or "")
    log.unlink(missing_ok=True)
    return node
