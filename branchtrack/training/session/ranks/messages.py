"""What ranks say to each other about records, as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from branchtrack.core.records import Node, Request, StoredCheckpoint
from branchtrack.training.steer.answers import Answer


def request_to_json(request: Request) -> dict[str, Any]:
    """Return a request as the other ranks carry it out; its conditions have been judged."""
    return asdict(replace(request, conditions={}))


def request_from_json(value: Mapping[str, Any]) -> Request:
    """Return what `request_to_json` made."""
    request: Request = _adapter(Request).validate_python(value)
    return request


def node_to_json(node: Node) -> dict[str, Any]:
    """Return a node as a message."""
    return asdict(node)


def node_from_json(value: Mapping[str, Any]) -> Node:
    """Return what `node_to_json` made."""
    node: Node = _adapter(Node).validate_python(value)
    return node


def checkpoint_to_json(stored: StoredCheckpoint) -> dict[str, Any]:
    """Return a checkpoint's manifest and the places of its tensors as a message."""
    return asdict(stored)


def checkpoint_from_json(value: Mapping[str, Any]) -> StoredCheckpoint:
    """Return what `checkpoint_to_json` made."""
    stored: StoredCheckpoint = _adapter(StoredCheckpoint).validate_python(value)
    return stored


def reply_of(answer: Answer) -> dict[str, Any]:
    """Return what a rank says of a request that it has carried out."""
    return {"state": answer.state, "error": answer.error, "applied": answer.applied}


@cache
def _adapter(kind: type) -> Any:
    return TypeAdapter(kind)
