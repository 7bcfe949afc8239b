"""Every blueprint of the API."""

from __future__ import annotations

from branchtrack.web.api import (
    access,
    agents,
    alerts,
    audit,
    curves,
    document,
    find,
    labels,
    launches,
    nodes,
    orders,
    replays,
    requests,
    runs,
    storage,
    trash,
    trials,
)

_MODULES = (
    document,
    access,
    runs,
    nodes,
    curves,
    requests,
    replays,
    orders,
    launches,
    trials,
    labels,
    alerts,
    agents,
    find,
    audit,
    storage,
    trash,
)
BLUEPRINTS = tuple(module.blueprint for module in _MODULES)
