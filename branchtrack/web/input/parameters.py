"""The parameters of each page's address: a misspelt one is refused, as the API does.

Those of the API are in its models. It knows what a page takes, not what it does with it.
"""

from __future__ import annotations

from flask import request

from branchtrack.errors import InvalidInput, shown
from branchtrack.web.input.forms import PREFIX

#: Any setting of a form that the address fills in.
_SETTINGS = f"{PREFIX}SETTING"
_CHART = ("metric", "x", "y", "smooth", "from", "to", "at")
_TREE = (*_CHART, "branch", "group", "path", "show", "fold", "open", "q", "before")
_PAIR = ("a", "b")
_COMPARED = (*_PAIR, "with", "group", "base", "run", *_CHART, "settings", "bands")
_ORDER = ("name", "group", "mode", "reason", "without_change", "allow_code_change")
_TRIED = ("settings", "same", "intervention", "at", "steps", "repeats", "margin")
_TURN = ("priority", "labels", "retries", "on")
_POLICY = ("keep", "last", "best_metric", "best_count", "every", "drop_optimizer_after")

_HELD = ("charts", "lanes", "nodes", "each_lane", "each_row")
#: What only the live part of a page sends; the address of the page has none of it.
LIVE = (*_HELD, "seen", "part")

#: By endpoint; `live_part` and `runs` read what a browser says that it has.
TAKEN: dict[str, tuple[str, ...]] = {
    "runs.index": ("q", "sort", "columns", "by", "page", "view", "undo", "seen"),
    "tree.show": (*_TREE, *_HELD),
    "wall.data": _TREE,
    "wall.as_svg": (*_TREE, "theme"),
    "wall.as_table": _TREE,
    "wall.as_csv": _TREE,
    "report.download": _TREE,
    "streams.events": ("metric", "after"),
    "node.show": (),
    "code.show": ("against",),
    "compare.show": (*_COMPARED, "pick"),
    "compare.chart_data": _COMPARED,
    "compare.as_csv": _COMPARED,
    "compare.nodes": _PAIR,
    "compare.weights": (*_PAIR, "most"),
    "resume.form": (*_ORDER, *_TURN, _SETTINGS),
    "trials.index": ("before",),
    "trial.show": (),
    "trial_order.form": (*_TRIED, "metric", "reason", "allow_code_change", "on"),
    "continuation.form": ("reason", "retries", "allow_code_change", "on", _SETTINGS),
    "steer.show": ("node", "part", _SETTINGS),
    "steer.confirm_stop": ("when",),
    "steer.interventions_file": (),
    "data.show": (),
    "launches.index": (),
    "launches.show": (),
    "alerts.index": ("level", "branch", "before"),
    "alerts.all_runs": ("level", "before"),
    "agents.index": ("run",),
    "agents.show": ("before",),
    "audit.show": ("kind", "actor", "request", "before", "verify"),
    "manage.form": ("undo",),
    "manage.confirm": ("run",),
    "storage.index": ("page", "run", "preview", *_POLICY),
    "trash.index": ("page",),
    "tokens.index": (),
    "me.show": (),
    "help.show": (),
}


def check() -> None:
    """Refuse the address of a page with a parameter that it does not take.

    Raises:
        InvalidInput: it names the parameter and those that there are.
    """
    taken = TAKEN.get(request.endpoint or "")
    if taken is None or request.method not in ("GET", "HEAD"):
        return
    for name, value in request.args.items():
        if not is_taken(name, taken):
            allowed = ", ".join(taken) or "none"
            what = f"This page takes no parameter {shown(name)}."
            raise InvalidInput(name, value, allowed, what=what)


def is_taken(name: str, taken: tuple[str, ...]) -> bool:
    """Return whether a parameter is one of a page's; every address may have the caller's token."""
    is_setting = name.startswith(PREFIX) and _SETTINGS in taken
    return name in (*taken, "token") or is_setting
