"""Changes that were carried out, without a training; recordings as somebody writes them."""

from __future__ import annotations

import json
from typing import Any

from branchtrack import control
from branchtrack.core.records import Node, Request
from branchtrack.core.replays.recording import FORMAT, VERSION, Recording, from_text
from branchtrack.db import requests
from tests.trees_for_tests import Tree

SET_LR = {"kind": "set", "values": {"lr": 0.005}}


def text_of(*rows: dict[str, Any], **header: Any) -> str:
    """The text of a recording: a header, and one change a line."""
    head = {"format": FORMAT, "version": VERSION, **header}
    return "\n".join(json.dumps(row) for row in (head, *rows))


def recording(*rows: dict[str, Any], **header: Any) -> Recording:
    """A recording of these changes."""
    return from_text(text_of(*rows, **header))


def at(step: int, **fields: Any) -> dict[str, Any]:
    """A change at a step: of ``lr``, unless told another."""
    return {"at": {"step": step}, **(fields or SET_LR)}


def carry_out(
    tree: Tree, branch: str, node: Node | None, step: int | None = None, **payload: Any
) -> Request:
    """Ask for a change, and answer as a training that committed ``node`` for it."""
    request = control.submit(
        tree.database, f"{tree.run.name}/{branch}", payload or SET_LR, actor="ann", reason="why"
    )
    applied = dict(request.requested.get("values", {}))
    facts = {"before": dict.fromkeys(applied, 0.01), "applied": applied}
    with tree.database.transaction() as connection:
        return requests.move(
            connection,
            request.id,
            "applied",
            actor="run",
            step=node.step if node else step,
            node_id=node.id if node else None,
            **facts,
        )
