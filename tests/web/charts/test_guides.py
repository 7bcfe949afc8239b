"""Steps to be marked in a chart are read from the address, or refused by its field."""

from __future__ import annotations

import pytest
from flask import Flask

from branchtrack.errors import InvalidInput
from branchtrack.web.charts import guides


def read(query: str) -> list[int]:
    with Flask(__name__).test_request_context(f"/?{query}"):
        return guides.steps_to_mark()


def test_steps_are_read_in_their_order_as_people_write_them() -> None:
    assert read("at=1,000&at=+20+&at=") == [1000, 20]
    assert read("") == []


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "１", "9" * 16])
def test_what_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(f"at={text}")
    assert caught.value.field == "at"


def test_more_steps_than_can_be_told_apart_are_refused() -> None:
    assert len(read("&".join(["at=1"] * 8))) == 8
    with pytest.raises(InvalidInput, match="at most 8 steps"):
        read("&".join(["at=1"] * 9))
