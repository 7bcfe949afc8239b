"""Every blueprint of the API."""

from __future__ import annotations

from branchtrack.web.api import (
    access,
    alerts,
    audit,
    curves,
    document,
    labels,
    launches,
    nodes,
    orders,
    requests,
    runs,
    storage,
    trash,
)

_MODULES = (
    document,
    access,
    runs,
    nodes,
    curves,
    requests,
    orders,
    launches,
    labels,
    alerts,
    audit,
    storage,
    trash,
)
BLUEPRINTS = tuple(module.blueprint for module in _MODULES)
