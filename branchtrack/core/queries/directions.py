"""Which of two values of a metric is the better one, by the metric's name."""

from __future__ import annotations

#: Words in the names of metrics that are better if they are higher.
_HIGHER = frozenset("accuracy acc f1 bleu rouge auc precision recall reward score".split())


def is_higher_better(metric: str) -> bool:
    """Return whether a higher value is the better one; of most metrics the lower one is."""
    words = metric.lower().replace("/", "_").replace("-", "_").split("_")
    return any(word in _HIGHER for word in words)
