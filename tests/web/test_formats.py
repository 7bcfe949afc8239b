"""What templates write values with, and that the shell writes them alike."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
import pytest
from markupsafe import Markup

from branchtrack.cli import output
from branchtrack.core import formats as texts
from branchtrack.web import formats
from tests.web import dom


def test_a_time_is_relative_with_the_absolute_value_in_its_title() -> None:
    found = dom.parse(str(formats.ago(1_700_000_000.0, 1_700_000_180.0))).one("time")
    assert found.text == "3 min ago"
    assert found["datetime"] == "2023-11-14T22:13:20+00:00"
    assert found["title"] == "2023-11-14 22:13:20 UTC"


def test_backticks_become_code_and_nothing_else_becomes_markup() -> None:
    found = dom.parse(str(formats.code("Run `branchtrack <x>` & <b>wait</b>")))
    assert found.one("code").text == "branchtrack <x>"
    assert found.all("b") == []
    assert str(formats.code("")) == ""


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_text_in_a_spreadsheet_is_a_formula(first: str) -> None:
    text = formats.spreadsheet(("name", "loss"), [(f"{first}1+1", -0.5), (f"a{first}", None)])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    shown = first.replace("\r", " ")
    assert rows == [["name", "loss"], [f"'{shown}1+1", "-0.5"], [f"a{shown}", ""]]


def test_a_setting_keeps_the_digits_that_are_not_shown_in_its_title() -> None:
    shown = dom.parse(str(formats.setting(2.0480000000000003e-3))).one("span")
    assert (shown.text, shown["title"]) == ("2.048e-3", "2.0480000000000003e-3")
    assert str(formats.setting(3e-4)) == "3e-4"


def on_page(name: str, value: Any) -> str:
    """What a filter makes of a value, without its markup."""
    return str(Markup(formats.FILTERS[name](value)).striptags())


def in_shell(write: Callable[[Any], str], value: Any) -> str:
    return click.unstyle(write(value))


NUMBERS = [0, 7, 0.5, 1e-7, -3.25, 12345.6, 3.2e8, math.nan, math.inf, -math.inf, "nan", None]
SETTINGS = [*NUMBERS, True, "", "cosine", 3e-4, 0.1 + 0.2, [0.9, 0.999], {"steps": 24, "path": []}]
STATES = ["running", "waiting", "paused", "lost", "received", "queued", "verified", "empty"]


@pytest.mark.parametrize(
    ("name", "write", "values"),
    [
        ("metric", texts.metric, NUMBERS),
        ("setting", output.setting, SETTINGS),
        ("steps", texts.steps, [0, 999, 12_000, None]),
        ("size", texts.size, [0, 999, 1000, 61_234_567, 2 * 10**9, 3 * 10**12, None]),
        ("word", output.state, STATES),
    ],
)
def test_a_value_has_the_same_text_on_a_page_and_in_the_shell(
    name: str, write: Callable[[Any], str], values: list[Any]
) -> None:
    assert [in_shell(write, value) for value in values] == [on_page(name, v) for v in values]


@pytest.mark.parametrize("seconds", [0, 1, 42, 59.6, 180, 7200, 90_000, 9e6])
def test_a_time_has_the_same_text_on_a_page_and_in_the_shell(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_700_000_000.0
    monkeypatch.setattr(output.time, "time", lambda: now)
    moment = datetime.fromtimestamp(now - seconds, UTC).isoformat()
    assert output.ago(moment) == formats.ago(now - seconds, now).striptags()


def test_a_change_has_the_same_text_on_a_page_and_in_the_shell() -> None:
    for before, after in ((0.03, 3e-3), (1.0, 1.0000000001), (None, "cosine")):
        shown = formats.FILTERS["setting_pair"](before, after)
        told = output.changes([{"name": "lr", "before": before, "after": after}])
        assert told == f"lr {shown[0]} → {shown[1]}"
