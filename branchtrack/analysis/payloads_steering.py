"""The settings and actions of a branch, and tokens, as plain JSON values for shell and API.

The keys are a promise, as in `payloads`. It knows no terminal and no HTTP.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis.payloads_audit import moment
from branchtrack.core import capabilities, lifecycle
from branchtrack.core.builtin_settings import declared
from branchtrack.core.capabilities import Action
from branchtrack.core.records import Branch, Segment, Token
from branchtrack.core.settings import Setting
from branchtrack.db import nodes, runs, segments


def settings(connection: Connection, branch: Branch) -> dict[str, Any]:
    """Return every setting that a branch's newest process declared, and the actions it offers.

    ``value`` is what the process last reported. ``effective`` is what the newest update that was
    read back (``effective_step``) used, and ``effective_now`` the same if a schedule had changed
    it.
    """
    segment = segments.get(connection, branch.segment_id) if branch.segment_id else None
    used = nodes.last_effective(connection, branch.id)
    offered = capabilities.read(segment.offers if segment else {})
    declarations = declared(segment.declared if segment else [])
    return {
        "run": runs.get_run(connection, branch.run_id).name,
        "branch": branch.name,
        "status": _status(segment),
        "step": segment.step if segment else None,
        "effective_step": used.get("step"),
        "settings": [_setting(entry, segment, used) for entry in declarations.values()],
        "actions": [_action(entry) for entry in offered.actions.values()],
        "modules": None if offered.modules is None else list(offered.modules),
        "evaluates": offered.evaluates,
    }


def token(record: Token) -> dict[str, Any]:
    """Return a token without its secret, which only its owner has."""
    return {
        "name": record.name,
        "role": record.role,
        "only": None if record.only is None else list(record.only),
        "max_per_1000_steps": record.limit,
        "created_by": record.created_by,
        "created_at": moment(record.created_at),
        "used_at": None if record.used_at is None else moment(record.used_at),
        "revoked_at": None if record.revoked_at is None else moment(record.revoked_at),
    }


def _setting(setting: Setting, segment: Segment | None, used: dict[str, Any]) -> dict[str, Any]:
    return {
        **_declaration(setting),
        "value": segment.settings.get(setting.name) if segment else None,
        "effective": used.get(setting.name),
        "effective_now": used.get(f"{setting.name}_now"),
    }


def _declaration(setting: Setting) -> dict[str, Any]:
    return {
        "name": setting.name,
        "type": setting.dtype,
        "allowed": setting.allowed,
        "minimum": setting.minimum,
        "maximum": setting.maximum,
        "choices": list(setting.choices),
        "unit": setting.unit,
        "effect": setting.effect,
        "live": setting.live,
        "detail": setting.detail,
        "about": setting.about,
    }


def _action(offered: Action) -> dict[str, Any]:
    return {
        "name": offered.name,
        "about": offered.about,
        "parameters": [
            {
                **_declaration(parameter),
                "required": parameter.name not in offered.defaults,
                "default": offered.defaults.get(parameter.name),
            }
            for parameter in offered.parameters
        ],
    }


def _status(segment: Segment | None) -> str:
    if segment is None:
        return "empty"
    return lifecycle.shown(lifecycle.segment_status(segment, time.time()))
