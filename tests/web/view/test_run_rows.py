"""The table of runs: addresses, heads, and the digest of what is shown."""

from __future__ import annotations

import time

from markupsafe import Markup

from branchtrack.core.queries.columns import Fact
from branchtrack.db.browsing import run_search
from branchtrack.db.browsing.run_search import RunMatches
from branchtrack.db.views import run_list
from branchtrack.web.view import run_rows
from branchtrack.web.view.run_rows import Choices
from tests.web.conftest import Site


def found(site: Site, choices: Choices) -> RunMatches:
    with site.database.read() as connection:
        return run_search.search(connection, choices.selection(), time.time(), 50)


def test_a_head_keeps_all_other_choices(own: Site) -> None:
    choices = Choices(q="lr>0", sort="lr", columns="lr,trend", page=3)
    with own.app.test_request_context():
        heads = run_rows.heads(choices, choices.selection(), choices.selection().columns)
    assert [head.label for head in heads] == ["run", "lr", "trend"]
    assert [head.sorted for head in heads] == [None, "ascending", None]
    assert heads[1].href == "/runs?q=lr%3E0&sort=-lr&columns=lr,trend"
    assert heads[2].href is None


def test_columns_without_a_value_are_left_out_unless_they_were_chosen(own: Site) -> None:
    for choices, expected in (
        (Choices(), {"last(loss)", "lr"}),
        (Choices(columns="best(eval_loss),lr"), {"best(eval_loss)", "lr"}),
    ):
        matches = found(own, choices)
        shown = run_rows.shown_columns(choices, choices.selection(), matches)
        assert {str(column) for column in shown if not isinstance(column, Fact)} == expected


def test_the_digest_tells_what_is_shown(own: Site) -> None:
    choices = Choices()
    word = run_rows.word_of(choices, found(own, choices), 1)
    assert run_rows.word_of(choices, found(own, choices), 1) == word
    assert run_rows.word_of(choices, found(own, choices), 2) != word
    own.lines["main"].log("loss", [99], [0.1])
    assert run_rows.word_of(choices, found(own, choices), 1) != word


def test_rows_have_their_curve_and_the_head_of_their_group(own: Site) -> None:
    choices = Choices(by="status")
    selection, matches = choices.selection(), found(own, choices)
    shown = run_rows.shown_columns(choices, selection, matches)
    ids = [match.run.id for match in matches.runs]
    with own.database.read() as connection:
        details = run_list.details(connection, ids, with_settings=True)
    sparks = {ids[0]: Markup("<svg>")}
    (row,) = run_rows.rows(selection, matches, shown, details, sparks, time.time())
    assert (row.group, row.group_count) == ("training", 1)
    texts = {cell.kind: cell.text for cell in row.cells}
    assert texts["trend"] == "<svg>" and row.counts.nodes == 2
    assert texts["step"] == '40 <span class="muted">of 100</span>'
