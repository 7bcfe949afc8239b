"""What a resume restores, and how its first update compares with the node's own continuation.

The comparison itself is made in the training process; this only reads its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.core.builtin_settings import DIRECTIVES, SCHEDULER, SETTINGS

#: What is compared of an update, in order.
PARTS = ("batch", "loss", "weights")
_SENTENCES = {
    "equal": "Its first update had the {parts} of the node's own continuation, bit for bit.",
    "explained": "Its first update differs from the node's own continuation where a declared "
    "change explains it.",
    "unknown": "The node had no recorded continuation, or nothing of the first update could be "
    "compared: whether it trains the same is not known.",
}


def restored_parts(has_scheduler: bool, replaced: Mapping[str, Any]) -> dict[str, str]:
    """Return for each part of the state whether it was restored or replaced; schedulers if any."""
    parts = {"weights": "restored", "optimizer": "restored", "rng": "restored"}
    if has_scheduler:
        parts["scheduler"] = "restored"
    parts["data position"] = parts["counters"] = "restored"
    parts |= {name: "replaced" for name in replaced if name not in DIRECTIVES}
    settings = [
        SETTINGS[name]
        for name, value in replaced.items()
        if name in SETTINGS and value is not False
    ]
    parts |= {setting.replaces: "replaced" for setting in settings if setting.replaces}
    if replaced.get(SCHEDULER.name) == "script":
        parts["scheduler"] = "replaced"
    return parts


def sentence(compared: Mapping[str, Any]) -> str:
    """Return a sentence on a comparison; see `training.session.proof.compare` for its fields."""
    state = str(compared["state"])
    if state == "differs":
        return (
            f"Its first update is not that of the node's own continuation: {differences(compared)}."
        )
    parts = [name for name in PARTS if compared.get(name) == "equal"]
    words = ", the ".join(parts[:-1]) + (" and the " if parts[1:] else "") + "".join(parts[-1:])
    if state == "unknown" and compared.get("not_restored"):
        return (
            f"Its first update had the {words} of the node's own continuation, but what later ones "
            f"may depend on was not restored: {', '.join(compared['not_restored'])}."
        )
    return _SENTENCES[state].format(parts=words)


def differences(compared: Mapping[str, Any]) -> str:
    """Describe what differs: each with the value found and the one expected."""
    return "; ".join(
        f"{difference['name']} {_shown(difference['name'], difference['found'])}, "
        f"expected {_shown(difference['name'], difference['expected'])}"
        for difference in compared["differences"]
    )


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(name, item) for item in value[:4]) or "none"
    if name == "loss" and isinstance(value, str):
        return f"{float.fromhex(value):.9g}"
    # The beginning of a digest is enough.
    return value[:12] if name in ("batch", "weights") and isinstance(value, str) else str(value)
