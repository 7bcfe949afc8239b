"""The page of a branch's data: its shards, what was seen of each, and the form to change them."""

from __future__ import annotations

from branchtrack.core.shards.composition import SETTING
from branchtrack.db import requests, runs
from tests.web import seeds
from tests.web.conftest import Site
from tests.web.test_budgets import MOST, statements

PATH = "/runs/digits/branches/main"


def test_shards_are_listed_with_samples_and_changes(own: Site) -> None:
    own.lines["main"].draw(100)
    with statements(own) as made:
        page = own.get(f"{PATH}/data")
    assert len(made) <= MOST
    assert "1,300 samples up to step 200" in page.text
    rows = [row.text for row in page.all("tr") if "jsonl" in row.text or "prose" in row.text]
    assert "code" in rows[0] and "300" in rows[0] and "20.0 %" in rows[0]
    assert page.one("meter", **{"aria-label": "chat: 100 of 1,300 samples"})["value"] == "100"
    assert seeds.AFTER.value in page.text and seeds.BEFORE.value in page.text
    head = own.lines["main"].head
    assert head is not None
    assert own.get(f"/nodes/{head.id}").one("a", href=f"{PATH}/data") is not None


def test_a_branch_without_shards_says_so(own: Site) -> None:
    assert "LiveDataset" in own.get(f"{PATH}/data").text


def test_the_steer_page_changes_shards(own: Site) -> None:
    line = own.lines["main"]
    line.offer()
    line.beat()
    assert "Now: code:1 prose:3" in own.get(f"{PATH}/steer").text
    form = {
        "kind": "data",
        "add": "chat=/data/chat.txt\n",
        "weights": "chat=0.5\ncode=2",
        "remove": "prose",
        "reason": "more of it",
    }
    assert own.client.post(f"{PATH}/steer", data=form).status_code == 303
    with own.database.read() as connection:
        request = requests.list_of_run(connection, runs.find_run(connection, "digits").id)[0]
    assert request.requested == {
        "add": {"chat": "/data/chat.txt"},
        "remove": ["prose"],
        "weights": {"chat": 0.5, "code": 2.0},
    }
    assert "add chat=/data/chat.txt, remove prose" in own.get(f"{PATH}/steer").text


def test_a_change_that_cannot_be_is_refused_in_the_form(own: Site) -> None:
    line = own.lines["main"]
    line.offer()
    line.beat()
    for field, text in (("remove", "chat"), ("weights", "code=much"), ("add", "code=/x")):
        answer = own.client.post(f"{PATH}/steer", data={"kind": "data", field: text})
        assert answer.status_code == 422 and "Nothing was changed" in answer.text, field
        assert text in answer.text
    assert line.settings[SETTING] == seeds.BEFORE.value
