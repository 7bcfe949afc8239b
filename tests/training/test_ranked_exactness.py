"""Two processes resume every node they made to the bits of the training that went on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.matrices import some
from tests.training import several

CASES = [
    (kind, case)
    for kind in ("ddp", "fsdp", "trainer")
    for case in ("plain", "accumulation", "workers", "evaluation", "bf16")
]


@pytest.mark.parametrize(
    ("kind", "case"), some(CASES, ("ddp", "plain"), ("fsdp", "accumulation"), ("trainer", "plain"))
)
def test_every_node_of_two_processes_resumes_to_the_same_bits(
    kind: str, case: str, tmp_path: Path
) -> None:
    assert several.result("exact", kind, case, str(tmp_path)) == {"nodes": 7, "differing": []}


@pytest.mark.exhaustive
def test_processes_that_accelerate_starts_do_so_too(tmp_path: Path) -> None:
    result = several.result("exact", "ddp", "plain", str(tmp_path), launcher=several.ACCELERATE)
    assert result == {"nodes": 7, "differing": []}
