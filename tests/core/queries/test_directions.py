"""Which of two values of a metric is the better one."""

from __future__ import annotations

import pytest

from branchtrack.core.queries.directions import is_higher_better


@pytest.mark.parametrize("metric", ["accuracy", "eval/acc", "eval_f1", "rewards/mean-reward"])
def test_of_some_metrics_higher_is_better(metric: str) -> None:
    assert is_higher_better(metric)


@pytest.mark.parametrize("metric", ["loss", "eval_loss", "accelerations", "perplexity"])
def test_of_most_metrics_lower_is_better(metric: str) -> None:
    assert not is_higher_better(metric)
