"""Alerts: their kinds and levels, what they say, and the keys by which two are the same.

It knows no database; `control.alerts` writes them and offers the forks.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from typing import Any

from branchtrack.core import formats
from branchtrack.core.health.detectors import Finding
from branchtrack.errors import InvalidInput

#: The kinds, with the level of each; a script chooses that of its own.
KINDS = {
    "nan": "error",
    "spike": "warn",
    "plateau": "info",
    "stall": "warn",
    "crash": "error",
    "disk": "warn",
    "target": "info",
    "script": "info",
}
#: From the least to the most urgent.
LEVELS = ("info", "warn", "error")
#: Characters of an alert's text, of which an error's message can be most.
LONGEST = 2000


def level(text: object, field: str = "level") -> str:
    """Return a level.

    Raises:
        InvalidInput: there is no such level.
    """
    if text not in LEVELS:
        raise InvalidInput(field, text, ", ".join(LEVELS))
    return str(text)


def levels_from(lowest: str) -> tuple[str, ...]:
    """Return ``lowest`` and the more urgent levels."""
    return LEVELS[LEVELS.index(lowest) :]


def words(finding: Finding) -> str:
    """Return what is to be said of a finding."""
    step, facts = formats.steps(finding.step), finding.facts
    value = formats.metric(finding.value)
    if finding.kind == "nan":
        return f"{finding.metric} is {value} since step {step}"
    if finding.kind == "spike":
        return f"{finding.metric} spikes to {value} at step {step}, from about " + formats.metric(
            facts["median"]
        )
    if finding.kind == "plateau":
        best, since = formats.metric(facts["best"]), formats.steps(facts["since"])
        return (
            f"{finding.metric} has not improved in {facts['points']:,} points: "
            f"the best is {best} at step {since}"
        )
    return f"{finding.metric} is {value} at step {step}: the target {facts['target']} is reached"


def stall_words(step: int, seconds: float) -> str:
    """Return what is to be said of a training that makes no update."""
    return f"no update for {formats.duration(seconds)}: still at step {formats.steps(step)}"


def crash_words(how: str, step: int, error: str | None) -> str:
    """Return what is to be said of a training that a crash has ended.

    ``how``: ``failed``, ``gone`` (its process), or ``silent``, which it may also survive.
    """
    at = f"at step {formats.steps(step)}"
    if how != "failed":
        return f"the training process is {how}, last heard of {at}"
    return f"training failed {at}: {error}" if error else f"training failed {at}"


def disk_words(free: int, needed: int) -> str:
    """Return what is to be said of a disk that fills up; both in bytes."""
    return f"the disk of the store has {formats.size(free)} free, and should have " + formats.size(
        needed
    )


def offer_words(offer: Mapping[str, Any]) -> str:
    """Return what an offer proposes: ``fork from node 3f2a91c0 (step 800) with lr x0.5``."""
    changes = ", ".join(f"{name} {value}" for name, value in offer["settings"].items())
    start = f"fork from node {formats.short(offer['node'])} (step {formats.steps(offer['step'])})"
    return f"{start} with {changes}" if changes else start


def offer_command(offer: Mapping[str, Any]) -> str:
    """Return the shell command that carries an offer out."""
    words = ["branchtrack", "resume", str(offer["node"])]
    for name, value in offer["settings"].items():
        words += ["--set", f"{name}={value}"]
    words += ["--name", offer["name"]] if offer["name"] else []
    return shlex.join(words)


def key(kind: str, segment_id: str, *what: Any) -> str:
    """Return the key of an alert about a segment; ``what`` tells several of a kind apart."""
    if not what:
        return f"{kind}:{segment_id}"
    text = ":".join(str(each) for each in what)
    if len(text) > 60:
        text = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
    return f"{kind}:{segment_id}:{text}"


def key_of(finding: Finding, segment_id: str) -> str:
    """Return the key of the alert about a finding of a segment."""
    what = finding.facts.get("target", finding.metric)
    return key(finding.kind, segment_id, what, finding.step)
