"""A branch's certificate as pages show it: what it says, for which steps, and with what.

Made from what a page has read; it makes no query and writes no markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from branchtrack.core import exactness
from branchtrack.core.formats import plural, steps
from branchtrack.core.records import Certificate
from branchtrack.db.views.tree_outline import NodeSummary

#: The class that colours each verdict.
_STYLES = {"exact": "held", "equal": "changed", "differs": "failed"}


@dataclass(frozen=True)
class Certified:
    """A certificate beside its branch; ``head`` is the step that the branch has come to since."""

    record: Certificate
    start: NodeSummary
    target: NodeSummary
    head: int

    @property
    def word(self) -> str:
        """One word: ``exact``, ``equal`` or ``differs``."""
        return exactness.verdict(self.record)

    @property
    def phrase(self) -> str:
        """``certified exact``, or as much of it as is known."""
        return exactness.VERDICT_WORDS[exactness.verdict(self.record)]

    @property
    def style(self) -> str:
        """The class of its chip."""
        return _STYLES[exactness.verdict(self.record)]

    @property
    def updates(self) -> int:
        """How many updates were made again."""
        return self.target.step - self.start.step

    @property
    def is_behind(self) -> bool:
        """Whether the branch has grown since."""
        return self.head > self.target.step

    @property
    def title(self) -> str:
        """All of it in one line, for who hovers or listens."""
        span = exactness.span_words(self.start.step, self.target.step)
        since = f"; now at step {steps(self.head)}" if self.is_behind else ""
        return f"{exactness.words(self.record)} ({span}{since})"

    @property
    def difference(self) -> str:
        """The first thing that differs, in words; nothing where all is equal."""
        recorded = self.record.difference
        return "" if recorded is None else exactness.difference_words(recorded)

    @property
    def facts(self) -> list[tuple[str, Any]]:
        """What it was tried with, as far as it was recorded."""
        return list(exactness.facts(self.record.environment).items())

    def covers(self, step: int) -> str:
        """What it says of a node of its branch at a step; nothing where it speaks of it."""
        if step > self.target.step:
            after = plural(step - self.target.step, "step")
            return f"This node lies {after} after what was tried."
        if step < self.start.step:
            return "This node lies before what was tried."
        return ""


def find(
    certificate: Certificate | None, nodes: Mapping[str, NodeSummary], head: NodeSummary | None
) -> Certified | None:
    """The certificate with the nodes that it speaks of, or None where there is none to show."""
    if certificate is None:
        return None
    start, target = nodes.get(certificate.from_node_id), nodes.get(certificate.to_node_id)
    if start is None or target is None:
        # A page that does not show the branch has not read its nodes.
        return None
    return Certified(certificate, start, target, head.step if head else target.step)
