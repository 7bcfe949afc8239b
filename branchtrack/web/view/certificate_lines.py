"""A branch's certificate as pages show it: its verdict, its steps, and its environment.

It works on what a page has read; it makes no query and writes no markup.
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
    """A certificate and its branch; ``head`` is the step that the branch has reached since."""

    record: Certificate
    start: NodeSummary
    target: NodeSummary
    head: int

    @property
    def word(self) -> str:
        """Return one word: ``exact``, ``equal`` or ``differs``."""
        return exactness.verdict(self.record)

    @property
    def phrase(self) -> str:
        """Return ``certified exact``, or as much of it as is known."""
        return exactness.VERDICT_WORDS[exactness.verdict(self.record)]

    @property
    def style(self) -> str:
        """Return the class of its chip."""
        return _STYLES[exactness.verdict(self.record)]

    @property
    def updates(self) -> int:
        """Return how many updates were repeated."""
        return self.target.step - self.start.step

    @property
    def is_behind(self) -> bool:
        """Return whether the branch has grown since."""
        return self.head > self.target.step

    @property
    def title(self) -> str:
        """Return all of it in one line, for a title and screen readers."""
        span = exactness.span_words(self.start.step, self.target.step)
        since = f"; now at step {steps(self.head)}" if self.is_behind else ""
        return f"{exactness.words(self.record)} ({span}{since})"

    @property
    def difference(self) -> str:
        """Return the first difference as text; empty if all is equal."""
        recorded = self.record.difference
        return "" if recorded is None else exactness.difference_words(recorded)

    @property
    def facts(self) -> list[tuple[str, Any]]:
        """Return the environment of the trial, as far as it was recorded."""
        return list(exactness.facts(self.record.environment).items())

    def covers(self, step: int) -> str:
        """Return why it does not cover its branch's node at a step; empty if it does."""
        if step > self.target.step:
            after = plural(step - self.target.step, "step")
            return f"This node lies {after} after the certified stretch."
        if step < self.start.step:
            return "This node lies before the certified stretch."
        return ""


def find(
    certificate: Certificate | None, nodes: Mapping[str, NodeSummary], head: NodeSummary | None
) -> Certified | None:
    """Return the certificate with its nodes, or None if there is none to show."""
    if certificate is None:
        return None
    start, target = nodes.get(certificate.from_node_id), nodes.get(certificate.to_node_id)
    if start is None or target is None:
        # A page that does not show the branch has not read its nodes.
        return None
    return Certified(certificate, start, target, head.step if head else target.step)
