"""The first half of a launch from a thinned node: trains to its state again, then trains on.

It is a process's first program, ``python -m branchtrack.launching.rebuilt_start NODE COMMAND...``,
and becomes the command under the same pid: for its worker both are one process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from branchtrack import config as configuration
from branchtrack import refusal_lines
from branchtrack.db import nodes
from branchtrack.db.orders import launches
from branchtrack.db.schema import open_database
from branchtrack.environment_variables import LAUNCH_VARIABLE
from branchtrack.errors import BranchtrackError
from branchtrack.launching import rebuilding
from branchtrack.launching.rebuilding import Stretch


def command(node_id: str) -> tuple[str, ...]:
    """Return the words before a command that has to wait for the state of a node."""
    # Nothing of the project's own folder may be imported for it.
    return (sys.executable, "-P", "-m", __name__, node_id)


def main(node_id: str, recorded: Sequence[str]) -> None:
    """Rebuild the state of a node, and become the recorded command; return only by exiting."""
    # The process that trains to it again carries out no launch.
    launch = os.environ.pop(LAUNCH_VARIABLE, None)
    try:
        _rebuild(node_id, launch)
    except BranchtrackError as error:
        sys.exit(refusal_lines.format_refusal(error))
    if launch is not None:
        os.environ[LAUNCH_VARIABLE] = launch
    sys.stdout.flush()
    os.execvp(recorded[0], list(recorded))


def _rebuild(node_id: str, launch_id: str | None) -> None:
    config = configuration.load()
    database = open_database(config)
    try:
        with database.read() as connection:
            node = nodes.get(connection, node_id)
            if nodes.thinned(connection, node.state_digest) is None:
                # Another has rebuilt it since.
                return
            command = launches.get(connection, launch_id).entry_point if launch_id else None
        rebuilding.make_whole(database, config, node, _announce, entry_point=command)
    finally:
        database.close()


def _announce(stretch: Stretch) -> None:
    print(
        f"branchtrack: rebuilding node {stretch.target.id} in {stretch.updates} updates from node "
        f"{stretch.start.id}",
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
