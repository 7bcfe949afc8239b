"""The live part of the tree page: what is sent while a run goes on."""

from __future__ import annotations

import re

import pytest

from branchtrack.web import shared_answers
from tests.web import dom, seeds
from tests.web.conftest import Site
from tests.web.pages.test_tree import node_rows
from tests.web.pages.test_tree_charts import charts_of


def live_part(site: Site, page: dom.Element) -> dom.Element:
    """What the page's live part is replaced by."""
    headers = {"HX-Request": "true", "HX-Target": "div#live"}
    answer = site.client.get(page.one(id="live")["hx-get"], headers=headers)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    return dom.parse(answer.get_data(as_text=True))


def new_row(node: str) -> str:
    """Where a row that the browser does not have is put."""
    return f"#rows tbody:not(:has(#n{node}))"


def partials_of(live: dom.Element) -> dict[str, dom.Element]:
    """The parts that are sent because they have changed, by what they take the place of."""
    return {one["hx-target"]: one for one in live.all("hx-partial")}


def test_the_live_part_is_sent_without_what_the_page_has_already(own: Site) -> None:
    main, page = own.lines["main"], own.get("/runs/digits")
    live = live_part(own, page)
    assert [one.get("id") for one in live.children] == ["live"]
    assert live.one("dl", id="facts").children == live.one(id="lanes").children == []
    main.commit("checkpoint", 42, loss=0.4)
    changed = partials_of(live_part(own, live))
    assert main.head is not None
    assert set(changed) == {
        "#facts",
        "#reached",
        "#lanes [id='branch-main']",
        "#lanes [data-branch='main']",
        "#nodes",
        "#pages",
        new_row(main.head.id),
        f"#n{main.head.parent_id}",
    }
    assert "branches · nodes 1 · 3" in changed["#facts"].text
    assert "main reaches step 42" in changed["#reached"].text
    assert changed["#nodes"].text == "Nodes 3 nodes"
    assert changed[new_row(main.head.id)].one("tr", id=f"n{main.head.id}").all("td")
    assert len(changed["#lanes [data-branch='main']"].one("g").all("svg", class_="mark")) == 3


def test_all_lanes_and_rows_are_sent_to_a_page_of_which_it_is_not_known_what_it_has(
    own: Site,
) -> None:
    page = own.get("/runs/digits")
    own.lines["main"].commit("checkpoint", 45, loss=0.4)
    live = page.one(id="live")
    for each in ("each_lane=&each_row=", "each_lane=1&each_row=%22", "each_lane=" + "0" * 8):
        live.attributes["hx-get"] = f"/runs/digits?{each}"
        changed = partials_of(live_part(own, page))
        assert changed.keys() == {
            "#facts",
            "#lanes",
            "#choice",
            "#rows",
            "#stream",
            "#bar",
            "#charts",
            "#samples",
        }
        assert [row["step"] for row in node_rows(changed["#rows"])] == ["45", "40", "0"]


def test_of_many_lanes_and_rows_those_that_changed_are_sent(own: Site) -> None:
    main = own.lines["main"]
    seeds.many(main, 120)
    assert main.head is not None
    side = main.grower.fork(main.head, "side", lr=1e-4)
    page = own.get("/runs/digits?fold=off")
    before = [row["id"] for row in page.one(id="rows").all("tr") if row.get("id")]
    assert side.head is not None
    side.commit("checkpoint", side.head.step + 1)
    changed = partials_of(live_part(own, page))
    assert "#lanes [data-branch='side']" in changed
    assert "#lanes [data-branch='main']" not in changed
    assert f"#n{before[50][1:]}" not in changed
    gone = [target for target in changed if target.startswith("#rows [id^=")]
    assert gone == [f"#rows [id^='{before[-1][:7]}']"]
    assert "Nodes 1 to 100 of" in changed["#nodes"].text


def test_a_new_branch_has_all_lanes_sent(own: Site) -> None:
    page = own.get("/runs/digits")
    main = own.lines["main"]
    assert main.head is not None
    main.grower.fork(main.head, "side", lr=1e-4)
    assert partials_of(live_part(own, page))["#lanes"].one(id="branch-side")


def test_a_value_read_back_later_reaches_the_rows(own: Site) -> None:
    main = own.lines["main"]
    main.commit("intervention", 41, {"lr": 1e-4}, effective=False)
    page = own.get("/runs/digits")
    with own.database.transaction() as connection:
        main.read_back(connection, 42)
    changed = partials_of(live_part(own, page))
    assert main.head is not None
    assert "used at step 42" in changed[f"#n{main.head.id}"].text
    assert changed["#nodes"].text == "Nodes 3 nodes"


def test_what_the_product_measures_itself_is_not_shown_before_a_loss(
    empty: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Points come without an event.
    monkeypatch.setattr(shared_answers, "MOMENT", 0.0)
    line = seeds.Grower(empty.database, empty.store, "fresh").line("main")
    line.log("stall/copy_ms", [0], [3.0])
    line.commit("root", 0)
    line.beat()
    page = empty.get("/runs/fresh")
    assert "No point of loss has been logged yet" in page.one(id="charts").text
    assert "loss" in node_rows(page)[0] and "metric=loss" in page.one(id="stream")["data-url"]
    assert page.one(id="bar").all("legend")[-1].text == "system"
    assert live_part(empty, page).all("hx-partial") == []
    line.log("train_loss", [1, 2], [2.0, 1.0])
    live = live_part(empty, page)
    assert "train_loss" in node_rows(live)[0]
    partials = partials_of(live)
    assert partials.keys() >= {"#stream", "#bar", "#charts"}
    assert "metric=train_loss" in partials["#stream"].one(id="stream")["data-url"]
    assert list(charts_of(empty, partials["#charts"])) == ["train_loss"]
    assert live_part(empty, live).all("hx-partial") == []
    line.log("eval_loss", [2], [1.0])
    assert list(charts_of(empty, partials_of(live_part(empty, live))["#charts"])) == [
        "train_loss",
        "eval_loss",
    ]


def test_a_checkpoint_that_another_follows_becomes_part_of_a_fold(own: Site) -> None:
    main = own.lines["main"]
    for step in range(41, 45):
        main.commit("checkpoint", step, loss=0.4)
    page = own.get("/runs/digits")
    assert [row["step"] for row in node_rows(page)] == ["44", "43", "0"]
    assert main.head is not None
    before, first = (
        main.head.id,
        page.one("td", class_="muted").one("a")["href"].rpartition("open=")[2][:16],
    )
    main.commit("checkpoint", 45, loss=0.4)
    changed = partials_of(live_part(own, page))
    rows = {target for target in changed if "#n" in target or "#rows" in target} - {"#nodes"}
    assert rows == {f"#rows [id^='n{before[:6]}']", new_row(main.head.id), f"#n{first}"}
    assert "5 checkpoints, 40–44" in changed[f"#n{first}"].text


def test_a_lane_tells_where_its_curve_is_and_not_its_last_node(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    main.log("loss", [41, 42], [0.31, 0.25])
    main.grower.fork(main.head, "side", lr=1e-4)
    page = own.get("/runs/digits")
    lanes = {one["data-value"]: one for one in page.all("span", class_="value")}
    assert (lanes["main"].text, lanes["main"]["title"]) == ("0.250 at 42", "loss at step 42")
    # It has no point yet: its curve ends where it left its parent's.
    assert lanes["side"].text == "0.500 at 40"
    main.log("loss", [43], [0.2])
    main.beat()
    main.commit("checkpoint", 43, loss=0.9)
    live = partials_of(live_part(own, page))["#lanes [id='branch-main']"]
    assert live.one("span", data_value="main").text == "0.200 at 43"


def test_on_an_older_page_the_live_part_stays_on_it(own: Site) -> None:
    seeds.many(own.lines["main"], 120)
    older = (
        own.get("/runs/digits?fold=off").by_role("link", "Older nodes")[0]["href"].partition("#")[0]
    )
    page = own.get(older)
    own.lines["main"].commit("checkpoint", 900)
    changed = partials_of(live_part(own, page))
    assert changed["#nodes"].text == "Nodes 102 to 123 of 123 rows, 123 nodes"
    assert not [
        target for target in changed if target.startswith(("#rows", "#n")) and target != "#nodes"
    ]


def test_a_page_that_says_to_have_other_lanes_is_sent_all(own: Site) -> None:
    page = own.get("/runs/digits")
    own.lines["main"].commit("checkpoint", 45, loss=0.4)
    live = live_part(own, page).one(id="live")
    frame, lane = re.findall(r"each_lane=([0-9a-f]+)\.([0-9a-f]+)", live["hx-get"])[0]
    for words in (frame, f"{frame}.{lane}.{lane}"):
        live.attributes["hx-get"] = f"/runs/digits?each_lane={words}"
        assert {"#lanes", "#choice"} <= partials_of(live_part(own, page)).keys()
