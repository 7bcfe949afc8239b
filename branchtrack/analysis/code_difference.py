"""How the code that made a node differs from that of another node, from what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack.core.records import Node
from branchtrack.db import nodes, segments
from branchtrack.db.storage import text_differences, texts

_SIDES = ("before", "after")


@dataclass(frozen=True)
class CodeDifference:
    """The other node, and the difference from its code to a node's.

    ``text`` is the unified difference of the script and its own modules, empty if they are the
    same, and None if either process recorded none of them. ``uncommitted`` is that of the
    uncommitted changes, of which none count as an empty text.
    """

    other: Node
    text: str | None
    uncommitted: str


def earlier(connection: Connection, node: Node) -> Node | None:
    """Return the node at which the process of a node began; None if it began a run."""
    start = segments.get(connection, node.segment_id).start_node_id
    return None if start is None else nodes.get(connection, start)


def between(connection: Connection, node: Node, other: Node) -> CodeDifference:
    """Return how the code of a node differs from that of another one."""
    after = segments.code_before(connection, node.id) or {}
    before = segments.code_before(connection, other.id) or {}
    sources = [code.get("sources") or {} for code in (before, after)]
    digests = [code.get("diff") for code in (before, after)]
    named = {digest for paths in sources for digest in paths.values()} | {*digests} - {None}
    known = texts.starting(connection, {str(digest)[: texts.BEGINNING] for digest in named})
    text = None
    if all(sources):
        text = text_differences.unified(*(_files(paths, known) for paths in sources), names=_SIDES)
    uncommitted = [_files({"changes": digest} if digest else {}, known) for digest in digests]
    return CodeDifference(other, text, text_differences.unified(*uncommitted, names=_SIDES))


def _files(digests: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    listed = {path: known.get(digest[: texts.BEGINNING]) for path, digest in digests.items()}
    return {path: text for path, text in listed.items() if text is not None}
