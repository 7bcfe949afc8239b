"""What a trial of exactness covers: its two nodes, and what the tests imply beyond them.

A certificate is a trial: a stretch of a branch trained again in a new process, and compared bit
for bit. It proves that stretch; it implies other steps only for what the tests cover. This module
knows no process, database or torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from branchtrack.core import formats
from branchtrack.core.records import Certificate, Node
from branchtrack.errors import InvalidInput

#: The versions with which the project's tests show that resumes are exact.
TESTED_VERSIONS = {
    "python": "3.11",
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "accelerate": "1.15.0",
    "numpy": "2.4.6",
}
TESTED_THREADS = (1, 2)
TESTED_PROCESSES = (1, 2)
TESTED_DEVICE = "cpu"
TESTED_SYSTEM = ("Linux", "x86_64")
#: The certificate of each verdict in words.
VERDICT_WORDS = {
    "exact": "certified exact",
    "equal": "equal in this trial",
    "differs": "not exact",
}
#: The facts of an environment that exactness depends on most, in the order in which they are shown.
_FACTS = ("threads", "device", "torch", "transformers", "accelerate", "python", "platform")
#: Facts of an environment that two trainings with equal bits need not share.
_INDIFFERENT = frozenset(("git", "branchtrack"))
_LIBC = re.compile(r"-with-(.+)$")


@dataclass(frozen=True)
class Trial:
    """The order to train from one node to another again.

    ``progress`` is a file for the step, ``watcher`` the process that waits for the verdict. To
    ``rebuild`` is to store the state that is reached if it is the recorded one, instead of a
    certificate; the file beside it, see `reached`, gets the digest of any other.
    """

    certificate: str
    start: str
    target: str
    progress: str = ""
    watcher: int = 0
    rebuild: bool = False

    @property
    def reached(self) -> str:
        """The file for the digest of a state that is not the recorded one."""
        return f"{self.progress}.digest"

    def to_text(self) -> str:
        """Return the form for the environment variable."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Trial:
        """Return the trial that `to_text` wrote."""
        return cls(**json.loads(text))


def choose(
    nodes: Sequence[Node],
    *,
    start: Node | None = None,
    target: Node | None = None,
    steps: int | None = None,
) -> tuple[Node, Node]:
    """Return the two nodes of a trial; ``nodes`` are the branch's, oldest first.

    By default the target is the newest node that was trained, and the start the nearest node before
    it of the same process, with at least ``steps`` updates between.

    Raises:
        InvalidInput: there are no such two nodes, or those given are not such.
    """
    if start is not None and target is None:
        after = [node for node in nodes if _same_stretch(start, node)]
        target = after[-1] if after else None
    if target is None:
        target = next((node for node in reversed(nodes) if _trained(node, nodes)), None)
    if target is None:
        raise _refused("branch", None, "a branch with a node, and a later one trained from it")
    before = [node for node in nodes if _same_stretch(node, target)]
    if start is not None:
        if start.id not in {node.id for node in before}:
            raise _refused("from", start.id, _listed(before))
        return start, target
    candidates = [node for node in before if target.step - node.step >= (steps or 1)]
    if not candidates:
        field, value = ("to", target.id) if steps is None else ("steps", steps)
        raise _refused(field, value, _listed(before, target.step))
    return candidates[-1], target


def untested(
    now: Mapping[str, Any], then: Mapping[str, Any], uncovered: Sequence[str] = ()
) -> list[str]:
    """Return why a trial implies nothing for other steps: what lies outside of the tests.

    ``now`` is the environment of the second training, ``then`` that of the first (as nodes record
    it), ``uncovered`` what the training process knows of its loop.
    """
    reasons = [
        f"{name} {now.get(name) or 'unknown'} (tested: {version})"
        for name, version in TESTED_VERSIONS.items()
        if name in now and not _is_version(str(now[name]), version)
    ]
    if now.get("device") != TESTED_DEVICE:
        reasons.append(f"device {now.get('device')} (tested: {TESTED_DEVICE})")
    if now.get("threads") not in TESTED_THREADS:
        counts = " and ".join(map(str, TESTED_THREADS))
        reasons.append(f"{now.get('threads')} threads (tested: {counts})")
    system = str(now.get("platform", "unknown"))
    if not all(component in system for component in TESTED_SYSTEM):
        reasons.append(f"platform {system} (tested: {' '.join(TESTED_SYSTEM)})")
    processes = int(now.get("world_size") or 1)
    if processes not in TESTED_PROCESSES:
        counts = " and ".join(map(str, TESTED_PROCESSES))
        reasons.append(f"{processes} processes (tested: {counts})")
    return [*reasons, *_differing(now, then), *uncovered]


def verdict(certificate: Certificate) -> str:
    """Return ``exact``, ``equal`` (in this trial, outside of what is tested), or ``differs``."""
    if not certificate.exact:
        return "differs"
    return "equal" if certificate.untested else "exact"


def words(certificate: Certificate) -> str:
    """Summarise a certificate in one line."""
    text = VERDICT_WORDS[verdict(certificate)]
    if certificate.difference is not None:
        return f"{text}: {difference_words(certificate.difference)}"
    if certificate.untested:
        return f"{text}; outside the tested matrix: {'; '.join(certificate.untested)}"
    return text


def span_words(first: int, last: int) -> str:
    """Return which steps a certificate covers."""
    return f"steps {formats.steps(first)} to {formats.steps(last)}"


def facts(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that are shown with a certificate, as far as they were recorded."""
    return {name: environment[name] for name in _FACTS if environment.get(name)}


def difference_words(difference: Mapping[str, Any]) -> str:
    """Describe a difference: which tensor or value, and how far apart."""
    name, kind = difference["name"], difference["kind"]
    expected, actual = difference.get("expected"), difference.get("found")
    if kind != "tensor":
        what = "setting" if kind == "settings" else "value"
        return f"the {what} {name} is {_shown(actual)}, and was {_shown(expected)}"
    if expected is None or actual is None:
        return f"the tensor {name} was {'not there' if expected is None else 'there, and is not'}"
    text = f"the tensor {name} differs"
    if "index" in difference:
        largest = difference["largest"]
        text += f", first at {difference['index']}"
        text += "" if largest is None else f", by up to {largest:.3g}"
    others = difference.get("tensors_differing", 1) - 1
    if others > 0:
        text += "; so does 1 other" if others == 1 else f"; so do {others} others"
    return text


def _trained(node: Node, nodes: Sequence[Node]) -> bool:
    return any(_same_stretch(earlier, node) for earlier in nodes)


def _same_stretch(start: Node, target: Node) -> bool:
    """Return whether one process trained from ``start`` to ``target``."""
    return start.segment_id == target.segment_id and start.step < target.step


def _listed(nodes: Sequence[Node], step: int | None = None) -> str:
    if not nodes:
        return "a node that the same process trained from another to"
    shown = [f"{node.id} (step {node.step})" for node in nodes[-8:]]
    most = f", so at most {step - nodes[0].step} steps" if step is not None else ""
    return f"a node that the same process trained from there: {', '.join(shown)}{most}"


def _refused(field: str, value: Any, allowed: str) -> InvalidInput:
    what = "There is no stretch of training to try again." if field in ("branch", "to") else ""
    return InvalidInput(field, value, allowed, what=what)


def _is_version(version: str, tested: str) -> bool:
    """Return whether it is the tested version, in any build; for python the minor version."""
    plain = version.partition("+")[0]
    return plain == tested or (tested.count(".") == 1 and plain.startswith(f"{tested}."))


def _differing(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    reasons = []
    for name in sorted((now.keys() | then.keys()) - _INDIFFERENT):
        current, recorded = _comparable(name, now.get(name)), _comparable(name, then.get(name))
        if name == "script":
            # Nodes of earlier versions, and processes without a file, have none.
            if current and recorded and current != recorded:
                reasons.append("the script's file is not the one that created the node")
        elif current != recorded:
            reasons.append(
                f"{name} {_plain(recorded)} in the first training, {_plain(current)} in this"
            )
    return reasons


def _comparable(name: str, value: Any) -> Any:
    """Return the relevant part of a fact: system, machine and C library, but not the kernel."""
    if name == "world_size":
        return value or 1
    if name != "platform" or not isinstance(value, str):
        return value
    libc = _LIBC.search(value)
    parts = [component for component in TESTED_SYSTEM if component in value] + (
        [libc[1]] if libc else []
    )
    return " ".join(parts) or value


def _plain(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _shown(value: Any) -> str:
    text = "missing" if value is None else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
