"""What tests of launches share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from branchtrack.core.records import Launch
from branchtrack.db import launches, nodes, segments
from branchtrack.db.engine import Database

ROOT = Path(__file__).parent.parent.parent
SCRIPT = Path(__file__).parent / "fake_training.py"


def reread(database: Database, launch: Launch) -> Launch:
    with database.read() as connection:
        return launches.get(connection, launch.id)


def segment_status(database: Database, launch: Launch) -> str:
    with database.read() as connection:
        return segments.get(connection, launch.segment_id).status


def fork_effective(database: Database, launch: Launch) -> Any:
    with database.read() as connection:
        return nodes.get(connection, launch.fork_node_id).effective
