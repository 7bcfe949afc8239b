"""How values look in a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack import control
from branchtrack.cli import output
from branchtrack.db import tables
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree


def test_a_schedule_for_another_length_is_told_in_words() -> None:
    recipe = {"steps": 24, "path": [[5, 5], [40, 24]]}
    words = "made for 24 updates, its 5 to 24 spread over updates 5 to 40"
    assert output.setting(recipe) == words
    read = output.pairs({"step": 6, "schedule": recipe, "groups": {"lr": 0.01}})
    assert read == f"step 6, schedule {words}, lr 0.01"


#: A title for the window, a screen wiped, a bell, a C1 sequence, a colour, a carriage return.
_EVIL = "\x1b]0;owned\x07 \x1b[2J \x9b2J \x1b[32mverified\r over\nnew"


def test_what_people_write_is_no_command_to_a_terminal(
    call: Call, forked: tuple[Tree, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    tree = forked[0]
    control.submit(tree.database, "demo", {"kind": "note", "text": _EVIL}, actor="me", reason=_EVIL)
    node = tree.node("main", 40, message=_EVIL, settings={"lr": _EVIL})
    for words in (("requests", "demo"), ("audit", "demo"), ("tree", "demo"), ("show", node.id)):
        told = call(*words).out
        assert "\\x1b]0;owned\\x07" in told and "\\x9b2J" in told
        assert not set(told) & set("\x07\x9b\r") and "\x1b]" not in told
    (asked,) = call("requests", "demo", "--json").json
    assert asked["reason"] == _EVIL


def test_the_name_of_a_metric_stays_in_its_line(call: Call, forked: tuple[Tree, Any]) -> None:
    tree = forked[0]
    node = tree.node("main", 40, values={"new\nline": 7.0, "": 8.0})
    tree.points("main", "new\nline", range(7, 8))
    shown = call("show", node.id).out.splitlines()
    assert "  new\\nline  7.000" in shown and '  ""         8.000' in shown
    assert "new\\nline of demo/main" in call("curve", "demo/main", "new\nline").out
    hint = call("curve", "demo/main", "new_line").err
    assert "'new\\nline'" in hint and "new\nline" not in hint


def test_only_its_own_styles_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = output.styled("a\x1b[8mb", "red")
    assert evil == "\x1b[31ma\\x1b[8mb\x1b[0m"
    output.echo(f"one\ntwo \x1b[8m\x7f {evil}")
    assert capsys.readouterr().out == "one\ntwo \\x1b[8m\\x7f a\\x1b[8mb\n"
    output.print_table(("A",), [("one\ntwo",)])
    assert capsys.readouterr().out == "A\none↵two\n"


def test_what_turns_or_hides_text_is_spelled_and_joined_letters_are_not() -> None:
    evil, joined = "a\u202eb\u2066c\u200bd\u2028e", "\u0645\u06cc\u200c\u062e 👩\u200d🔬"
    assert output.visible(evil) == "a\\u202eb\\u2066c\\u200bd\\u2028e"
    assert output.visible(joined) == joined


def test_half_a_surrogate_pair_is_refused_and_shown_where_it_is_stored_already(
    call: Call, forked: tuple[Tree, Any]
) -> None:
    tree, bad = forked[0], "a\udcff"
    assert call("set", "demo", f"lr={bad}", "--no-wait").code == 2
    assert call("set", "demo", f"{bad}=1", "--no-wait").code == 2
    assert call("act", "demo", bad, f"{bad}={bad}", "--no-wait").code == 2
    assert call("curve", "demo", bad).code == 2
    with tree.database.transaction() as connection:
        for table in (tables.requests, tables.events):
            connection.execute(table.update().values(payload={bad: bad}))
    for words in (("requests", "demo"), ("audit", "demo"), ("tree", "demo")):
        for more in ((), ("--json",)):
            answer = call(*words, *more)
            assert answer.code == 0
            answer.out.encode()
