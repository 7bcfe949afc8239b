"""What a branch can be asked for, and tokens, as plain JSON values for the shell and the API.

The keys are a promise, as in `report`. It knows no terminal and no HTTP.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis.payloads_audit import moment
from branchtrack.core import capabilities, lifecycle
from branchtrack.core.capabilities import Action
from branchtrack.core.records import Branch, Segment, Token
from branchtrack.core.settings import Setting, declared
from branchtrack.db import nodes, runs, segments


def settings(connection: Connection, branch: Branch) -> dict[str, Any]:
    """Every setting that the newest process of a branch declared, and the actions it offers.

    ``value`` is what the process last told, ``effective`` what the newest update that was read back
    (``effective_step``) used, ``effective_now`` where a schedule had brought that.
    """
    found = segments.get(connection, branch.segment_id) if branch.segment_id else None
    used = nodes.last_effective(connection, branch.id)
    offered = capabilities.read(found.offers if found else {})
    known = declared(found.declared if found else [])
    return {
        "run": runs.get_run(connection, branch.run_id).name,
        "branch": branch.name,
        "status": lifecycle.segment_status(found, time.time()) if found else "empty",
        "step": found.step if found else None,
        "effective_step": used.get("step"),
        "settings": [_setting(one, found, used) for one in known.values()],
        "actions": [_action(one) for one in offered.actions.values()],
        "modules": None if offered.modules is None else list(offered.modules),
        "evaluates": offered.evaluates,
    }


def token(found: Token) -> dict[str, Any]:
    """A token without its secret, which nobody has but its owner."""
    return {
        "name": found.name,
        "role": found.role,
        "only": None if found.only is None else list(found.only),
        "max_per_1000_steps": found.limit,
        "created_by": found.created_by,
        "created_at": moment(found.created_at),
        "used_at": None if found.used_at is None else moment(found.used_at),
        "revoked_at": None if found.revoked_at is None else moment(found.revoked_at),
    }


def _setting(known: Setting, segment: Segment | None, used: dict[str, Any]) -> dict[str, Any]:
    return {
        **_declaration(known),
        "value": segment.settings.get(known.name) if segment else None,
        "effective": used.get(known.name),
        "effective_now": used.get(f"{known.name}_now"),
    }


def _declaration(known: Setting) -> dict[str, Any]:
    return {
        "name": known.name,
        "type": known.dtype,
        "allowed": known.allowed,
        "minimum": known.minimum,
        "maximum": known.maximum,
        "choices": list(known.choices),
        "unit": known.unit,
        "effect": known.effect,
        "live": known.live,
        "detail": known.detail,
        "about": known.about,
    }


def _action(offered: Action) -> dict[str, Any]:
    return {
        "name": offered.name,
        "about": offered.about,
        "parameters": [
            {
                **_declaration(one),
                "required": one.name not in offered.defaults,
                "default": offered.defaults.get(one.name),
            }
            for one in offered.parameters
        ],
    }
