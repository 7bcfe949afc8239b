"""What the address of a tree page asks for: branches, rows of the log, charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import request

from branchtrack.core.names import is_id_prefix
from branchtrack.db.views.tree_log import Log
from branchtrack.errors import InvalidInput
from branchtrack.web.input import query
from branchtrack.web.view.branch_choice import Choice
from branchtrack.web.view.tree import BranchView

#: Characters of a search, and stretches that can be opened.
_LONGEST, _MOST_OPEN = 200, 50
#: What every link of the page keeps. A page of the log and its search are not among them.
_KEPT = ("x", "y", "smooth", "group", "path", "show", "fold")
_LISTS = ("metric", "branch", "at", "open")


def choice() -> Choice:
    """Return the branches that the address asks for."""
    return Choice(
        names=tuple(_values("branch")),
        group=request.args.get("group", ""),
        path=request.args.get("path", ""),
        is_all=query.choice("show", ("", "all")) == "all",
    )


def log(branches: Sequence[BranchView], *, is_narrowed: bool) -> Log:
    """Return the rows that the address asks for, of ``branches`` if these are not all."""
    opened = _values("open")
    for node_id in opened[:_MOST_OPEN]:
        if not is_id_prefix(node_id):
            raise InvalidInput("open", node_id, "ids of nodes")
    return Log(
        branch_ids=[view.branch.id for view in branches] if is_narrowed and not is_wide() else (),
        is_folded=query.choice("fold", ("on", "off")) == "on",
        opened=opened[:_MOST_OPEN],
        search=search(),
    )


def search() -> str:
    """Return what is searched in the log.

    Raises:
        InvalidInput: it is too long; a part of it would be another search.
    """
    text = request.args.get("q", "").strip()
    if len(text) > _LONGEST:
        raise InvalidInput("q", text, f"at most {_LONGEST} characters")
    return text


def is_wide() -> bool:
    """Return whether rows are searched in all branches: the reader chose none of them."""
    return bool(search()) and choice().is_default


def kept() -> dict[str, Any]:
    """Return the choices in the address, which every link of the page keeps."""
    low, high = query.window()
    single = {name: request.args.get(name) or None for name in _KEPT}
    lists = {name: _values(name) for name in _LISTS}
    return {**single, **lists, "from": low, "to": high, "q": search() or None}


def _values(name: str) -> list[str]:
    return list(dict.fromkeys(value for value in request.args.getlist(name) if value))
