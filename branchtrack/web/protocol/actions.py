"""Actions of Interactive Training 2 as requests of ours, and the other way round.

It knows no HTTP: names and values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.core.records import Request
from branchtrack.errors import InvalidInput

#: Actions with what they do and what they take, as the protocol's clients are told.
ACTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "set_knob": ("Change a setting; a value out of bounds is refused", ("name", "value")),
    "save_checkpoint": ("Commit a node now", ("tag",)),
    "load_checkpoint": (
        "Go back to a node, and on from there as a new branch",
        ("checkpoint_id", "fork"),
    ),
    "pause": ("Commit a node and hold", ()),
    "resume": ("Train on after a pause", ()),
    "stop": ("Commit a node and end the process", ()),
    "evaluate": ("Evaluate now, as the script does", ("split",)),
    "reset_module": ("Give a module fresh weights", ("module_name",)),
    "freeze": ("No longer train a module", ("module_name",)),
    "unfreeze": ("Train a module again", ("module_name",)),
    "note": ("Add a remark to the record", ("text",)),
}
#: Actions of the protocol that are answered with a refusal: agents are run from outside.
_AGENTS = ("set_agent", "configure_agent", "set_context")
_TYPES = {
    "set": "set_knob",
    "checkpoint": "save_checkpoint",
    "rewind": "load_checkpoint",
    "unpause": "resume",
    "reset": "reset_module",
}
_KINDS = {action: kind for kind, action in _TYPES.items()}


def payload_of(action: str, values: Mapping[str, Any], own: tuple[str, ...]) -> dict[str, Any]:
    """Return the request that an action stands for; ``own`` are the names of the script's actions.

    What is wrong with its values is found where requests are checked, and recorded there.

    Raises:
        InvalidInput: there is no such action, it names nothing that it is about, or it is an action
            of an agent's.
    """
    kind = _KINDS.get(action, action)
    if action in own:
        return {"kind": "act", "action": action, "arguments": dict(values)}
    if action in _AGENTS:
        raise InvalidInput(
            "type",
            action,
            ", ".join((*ACTIONS, *own)),
            what=f"{action} is not available: no agent runs inside of this training.",
        )
    if action not in ACTIONS:
        raise InvalidInput("type", action, ", ".join((*ACTIONS, *own)))
    if kind == "set":
        name = _named("name", values, "the name of a knob")
        return {"kind": kind, "values": {name: values.get("value")}}
    if kind == "checkpoint":
        # Its tag is the request's reason, which is the message of the node.
        _text("tag", values.get("tag"))
        return {"kind": kind}
    if kind == "rewind":
        return {"kind": kind, "node": _named("checkpoint_id", values, "the id of a checkpoint")}
    if kind in ("reset", "freeze", "unfreeze"):
        return {"kind": kind, "modules": _named("module_name", values, "the name of a module")}
    if kind == "note":
        return {"kind": kind, "text": values.get("text")}
    return {"kind": kind}


def type_of(request: Request) -> str:
    """Return the action that a request is known as."""
    if request.kind == "act":
        return str(request.payload.get("action"))
    return _TYPES.get(request.kind, request.kind)


def reason_of(action: str, values: Mapping[str, Any], source: str, reason: str) -> str:
    """Return why a request is made, as far as an action says it; the source is its own word."""
    if action == "save_checkpoint" and values.get("tag"):
        return str(values["tag"])
    about = reason or f"{action} over the Interactive Training protocol"
    split = values.get("split") if action == "evaluate" else None
    about += f", split {split}" if split else ""
    return f"{about} (source: {source})" if source else about


def _named(field: str, values: Mapping[str, Any], allowed: str) -> str:
    name = values.get(field)
    if not isinstance(name, str) or not name:
        raise InvalidInput(field, name, allowed, what=f"{field} is needed.")
    return name


def _text(field: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise InvalidInput(field, value, "text")
