"""The road not taken: what a resume of a node has to set so that its change was never made.

It knows no launch. The state after a fork is that of its parent, so `control` resumes the parent
there; this is for nodes whose change was applied before their state was stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.core import schedules
from branchtrack.core.builtin_settings import DIRECTIVES, HORIZON, RECIPE
from branchtrack.core.records import Change, Node
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

_FIELD = "without_change"


def settings_before(node: Node, offered: Mapping[str, Setting]) -> dict[str, Any]:
    """Return the settings that reverse the changes of a node, as a resume takes them.

    ``offered`` are the settings that a resume of it may change.

    Raises:
        InvalidInput: it changed nothing, or something that a resume cannot take back.
    """
    if not node.changes:
        raise InvalidInput(
            _FIELD,
            node.id,
            "a node with a change: an intervention or a fork",
            what=f"Node {node.id} changed nothing.",
        )
    for change in node.changes:
        if reason := _obstacle(node, change, offered):
            raise _irreversible(node, change, reason)
    values = {change.name: change.before for change in node.changes if change.name not in _FOLLOWS}
    has_schedule = node.settings.get(schedules.KIND) not in (None, *schedules.ENDLESS)
    if "max_steps" in values and has_schedule:
        # The schedule as it was made for that length.
        values[HORIZON.name] = "rescale"
    return values


def is_reversible(node: Node, offered: Mapping[str, Setting]) -> bool:
    """Return whether a resume of ``node`` can train as if its change had not been made."""
    if not node.changes:
        return False
    if node.kind == "fork" and node.parent_id is not None:
        return True
    return not any(_obstacle(node, change, offered) for change in node.changes)


#: What says how a change is meant, beside the settings that were asked for.
_FOLLOWS = DIRECTIVES


def _obstacle(node: Node, change: Change, offered: Mapping[str, Setting]) -> str:
    """Return why a change cannot be taken back by settings; empty if it can."""
    if change.name == RECIPE:
        return "the schedule was stretched, and continues from the rate that it had"
    if change.name in _FOLLOWS:
        return ""
    if change.step is not None and change.step != node.step:
        return f"it had been in effect since step {change.step} when the state was stored"
    if change.name not in offered:
        return "it is no setting: the state was stored after it"
    if change.before is None:
        return "it had no value before"
    return ""


def _irreversible(node: Node, change: Change, reason: str) -> InvalidInput:
    parent = f"`branchtrack resume {node.parent_id}`, which resumes the node before it"
    return InvalidInput(
        _FIELD,
        node.id,
        f"a change of settings, or {parent}" if node.parent_id else "a change of settings",
        what=f"{change.name} of node {node.id} cannot be taken back: {reason}.",
    )
