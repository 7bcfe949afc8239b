"""The tree page."""

from __future__ import annotations

import math
import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from branchtrack.analysis import payloads
from branchtrack.db import audit, runs, segments
from branchtrack.db.orders import groups, launches, withdrawals
from tests.web import dom, seeds
from tests.web.clusters import order_far, submit
from tests.web.conftest import Site

TREE = "/runs/gpt2-docs"


def node_rows(page: dom.Element) -> list[dict[str, str]]:
    return page.table("Nodes")


def test_every_node_is_a_row_newest_first(site: Site) -> None:
    rows = node_rows(site.get(TREE))
    assert len(rows) == 14
    assert rows[0]["what changed"].startswith("lr 3e-4 → 1.5e-4")
    assert rows[-1]["what changed"] == "root"


def test_a_row_says_what_where_who_and_why(site: Site) -> None:
    row = next(one for one in node_rows(site.get(TREE)) if "lr 5e-3 → 1e-3" in one["what changed"])
    assert row["branch"] == "main"
    assert (row["step"], row["loss"], row["Δ parent"]) == ("400", "2.980", "−0.330")
    assert row["who, why"] == "anna · “oscillating”"


def test_a_fork_says_where_it_comes_from(site: Site) -> None:
    said = [row["what changed"] for row in node_rows(site.get(TREE))]
    assert any(one.startswith("fork of main · lr 1e-3 → 3e-4") for one in said)


def test_a_change_shows_what_the_next_update_used(site: Site) -> None:
    row = node_rows(site.get(TREE))[0]
    assert "lr 1.5e-4 used at step 1,601" in row["what changed"]


def test_a_change_that_the_maths_did_not_see_is_called_out(own: Site) -> None:
    main = own.lines["main"]
    main.commit("intervention", 41, {"lr": 1e-4}, effective=False)
    with own.database.transaction() as connection:
        main.settings["lr"] = 5e-3
        main.read_back(connection, 42, verified=False)
    row = node_rows(own.get("/runs/digits"))[0]
    assert "lr 5e-3 used at step 42, not 1e-4" in row["what changed"]


def test_each_row_links_its_node_and_its_resume(site: Site) -> None:
    page = site.get(TREE)
    node = site.node("cooler")
    assert page.one("tr", id=f"n{node}").all("a", href=f"/nodes/{node}")
    assert page.one("tr", id=f"n{node}").all("a", href=f"/nodes/{node}/resume")


def test_the_timeline_is_told_in_words(site: Site) -> None:
    timeline = site.get(TREE).one("svg", class_="timeline")
    label = timeline.one("desc", id=timeline["aria-labelledby"]).text
    assert label.startswith("4 branches over steps 0 to 2,000: main reaches step 1,400; ")
    assert "cooler forks at step 400 and reaches step 2,000" in label


def test_lanes_stand_at_their_steps(site: Site) -> None:
    timeline = site.get(TREE).one("svg", class_="timeline")
    cooler = timeline.one("g", data_branch="cooler")
    stretch = cooler.one("line", class_="stretch")
    assert (stretch["x1"], stretch["x2"]) == ("20%", "100%")
    changes = [one["x"] for one in cooler.all("svg", class_="mark") if one.all(class_="solid")]
    assert changes == ["20%", "40%", "100%"]
    assert "max_grad_norm 1 → 0.5" in [one.text for one in cooler.all("text")]


def test_what_trains_now_has_a_pulse_and_nothing_else_has(site: Site) -> None:
    timeline = site.get(TREE).one("svg", class_="timeline")
    pulses = {
        lane["data-branch"]
        for lane in timeline.all("g")
        if lane.get("data-branch") and lane.all("circle", class_="pulse")
    }
    assert pulses == {"more-decay"}


def test_branches_differ_by_colour_dash_and_name(site: Site) -> None:
    names = site.get(TREE).one("ul", class_="names").all("li")
    looks = {tuple(one.classes) for one in names}
    assert len(looks) == len(names) == 4
    assert len({look[0] for look in looks}) == len({look[1] for look in looks}) == 4


def test_rows_and_curves_can_be_narrowed_to_a_branch(site: Site) -> None:
    page = site.get(TREE + "?branch=cooler")
    assert {row["branch"] for row in node_rows(page)} == {"cooler"}
    assert list(beside_the_lanes(page)) == ["cooler"]
    assert page.one(id="choice").by_role("link", "Default")[0]["href"] == TREE
    assert "3 branches folded" in page.one(id="choice").text
    assert "There is no branch" in site.get(TREE + "?branch=nope", 404).one("h1").text


def test_an_unknown_group_is_refused_with_the_groups_that_there_are(own: Site) -> None:
    assert "has no group" in own.get("/runs/digits?group=nope", 404).one("main").text
    main = own.lines["main"]
    assert main.head is not None
    line = main.grower.fork(main.head, "rate-1", lr=1e-2)
    with own.database.transaction() as connection:
        group = groups.create(connection, main.grower.run.id, "rates", "values", actor="ann")
        groups.add_branch(connection, group, runs.get_branch(connection, line.branch.id))
    own.get("/runs/digits?group=rates")
    assert "These exist: rates." in own.get("/runs/digits?group=nope", 404).one("main").text


def test_of_a_branch_that_there_is_not_those_that_come_close_are_named(site: Site) -> None:
    said = site.get(TREE + "?branch=coolr", 404).one("main").text
    assert "gpt2-docs/cooler" in said and "gpt2-docs/hot" not in said


@pytest.mark.parametrize("query", ["y=cubic", "smooth=2", "from=-1", "from=x", "before=x"])
def test_choices_that_are_not_offered_are_refused(site: Site, query: str) -> None:
    site.get(f"{TREE}?{query}", 422)


def test_branches_and_nodes_can_be_ticked_for_a_comparison(site: Site) -> None:
    page = site.get(TREE)
    form = page.one("form", id="compare")
    assert (form["method"], form["action"]) == ("get", "/compare")
    boxes = [one for one in page.all("input", type="checkbox") if one.get("form") == "compare"]
    values = [one["value"] for one in boxes]
    assert len(values) == len(set(values)) == 4 + 14
    assert {f"gpt2-docs/{name}" for name in site.lines} | {site.node("hot")} <= set(values)
    assert form.one("input", name="run")["value"] == "gpt2-docs"


def test_the_facts_count_each_stored_byte_once(site: Site) -> None:
    page = site.get(TREE)
    facts = page.one("dl", id="facts").text
    assert "best held-out loss 1.886 more-decay" in facts
    assert "branches · nodes 4 · 14" in facts
    assert "23.1 kB of 231 kB logical" in page.one("dl", id="disk").text


def test_a_branch_that_trains_can_be_steered_and_others_cannot(site: Site) -> None:
    actions = [form.get("action") for form in site.get(TREE).all("form", method="post")]
    forms = [action for action in actions if "/branches/" in action]
    assert set(forms) == {TREE + "/branches/more-decay/steer?back=tree"}


def test_requests_are_listed_with_their_state(site: Site) -> None:
    rows = site.get(TREE).table("Requests")
    assert rows[0]["what"] == "set lr = 1e-3"
    assert rows[0]["state"] == "verified"


def test_a_list_of_requests_that_is_cut_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site.get(TREE).heading("Requests").text == "Requests"
    monkeypatch.setattr("branchtrack.web.pages.tree._REQUESTS", 1)
    assert "the newest 1; the audit has all" in site.get(TREE).heading("Requests").text


def test_a_branch_that_waits_says_what_it_waits_for(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    main.grower.order(main.head, "cooler", lr=1e-4)
    page = own.get("/runs/digits")
    banner = page.one("div", class_="banner")
    assert "cooler is waiting for a worker. Nobody works here" in banner.text
    assert banner.one("code").text == "branchtrack worker"
    assert page.table("Nodes")[0]["branch"] == "cooler"


def test_the_head_says_how_far_a_branch_is_and_then_how_fast(site: Site) -> None:
    pace = site.get(TREE).one("span", data_pace="more-decay")
    assert re.match(r"step 1,\d{3} of [\d,]+ · [\d.]+ steps/s$", pace.text), pace.text
    assert pace["data-of"] in pace.text


def test_a_branch_that_waits_in_its_cluster_is_counted_so(own: Site) -> None:
    launch = order_far(own, "far")
    assert "1 branch waiting for a worker" in own.get("/runs/digits").one("p", class_="chips").text
    submit(own, launch, reason="Priority")
    page = own.get("/runs/digits")
    assert "1 branch waiting in its cluster" in page.one("p", class_="chips").text
    assert (
        "Slurm job 12: PENDING (Priority). Place in the queue"
        in page.one("div", class_="banner").text
    )


def test_a_launch_that_failed_shows_its_error_and_the_end_of_its_log(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    line, launch = main.grower.order(main.head, "broken")
    own.config.make_home()
    log = own.config.logs / f"{launch.id}.log"
    log.write_text("line\n" * 100 + "ModuleNotFoundError: No module named 'nothing'\n")
    with own.database.transaction() as connection:
        launches.move(connection, launch.id, "starting", "w")
        launches.move(
            connection, launch.id, "failed", "w", error="It ended with exit code 1.", log=str(log)
        )
        segments.end(connection, line.segment.id, "failed", actor="w", error="exit code 1")
    banner = own.get("/runs/digits").one(role="group", aria_label="broken failed")
    assert "broken could not be started: It ended with exit code 1." in banner.text
    assert banner.one("pre").text.endswith("No module named 'nothing'")
    assert banner.by_role("link", "Resume")[0]["href"] == f"/nodes/{main.head.id}/resume"


def test_a_launch_of_which_nothing_is_left_is_told_until_another_follows(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    line, launch = main.grower.order(main.head, "broken")
    with own.database.transaction() as connection:
        launches.move(connection, launch.id, "starting", "w")
        segments.end(connection, line.segment.id, "failed", actor="w", error="no")
        failed = launches.move(connection, launch.id, "failed", "w", error="It was refused.")
        assert withdrawals.withdraw(connection, failed, "w")
    page = own.get("/runs/digits")
    banner = page.one(role="group", aria_label="broken failed")
    assert "broken could not be started: It was refused." in banner.text
    assert "nothing is left of the branch" in banner.text
    assert banner.by_role("link", "Resume")[0]["href"] == f"/nodes/{main.head.id}/resume"
    assert "broken" not in {row["branch"] for row in page.table("Nodes")}
    with own.database.read() as connection:
        assert payloads.tree(connection, runs.find_run(connection, "digits"))["refused"] == {
            "launch": launch.id,
            "branch": "broken",
            "node": main.head.id,
            "error": "It was refused.",
            "log": None,
            "created_at": payloads.moment(launch.created_at),
        }
    main.grower.order(main.head, "next")
    assert own.get("/runs/digits").all(role="group", aria_label="broken failed") == []


def test_a_branch_whose_process_vanished_is_lost_and_can_be_resumed(own: Site) -> None:
    with own.database.transaction() as connection:
        connection.exec_driver_sql(f"UPDATE segments SET heartbeat_at = {time.time() - 3600}")
    page = own.get("/runs/digits")
    banner = page.one("div", class_="banner")
    assert "main is lost: its process is silent; it last answered 1 h ago" in banner.text
    assert banner.by_role("link", "Resume")[0]["href"] == f"/nodes/{own.node('main')}/resume"
    assert page.all("details", class_="steer") == []


def test_a_run_without_metrics_says_so(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "fresh").line("main")
    line.commit("root", 0)
    line.beat()
    page = empty.get("/runs/fresh")
    assert "No metric has been logged yet; the curve appears" in page.one(id="charts").text
    assert len(node_rows(page)) == 1


def test_a_run_without_anything_is_a_page_too(empty: Site) -> None:
    seeds.Grower(empty.database, empty.store, "bare")
    page = empty.get("/runs/bare")
    assert "No node has been committed yet." in page.one("main").text


def test_a_run_whose_every_loss_is_not_a_number_is_a_page_too(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "burst").line("main")
    line.log("loss", [1, 2, 3], [math.nan, math.inf, math.nan])
    line.commit("checkpoint", 3, loss=math.nan)
    page = empty.get("/runs/burst")
    assert node_rows(page)[0]["loss"] == "NaN"
    assert "main NaN at step 3" in page.one(id="charts").one("img")["alt"]


def test_many_nodes_come_in_pages_with_their_lanes(
    empty: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("branchtrack.web.view.node_rows.PAGE", 10)
    grower = seeds.Grower(empty.database, empty.store, "big")
    main = grower.line("main", 2000)
    seeds.many(main, 70)
    assert main.head is not None
    seeds.many(grower.fork(main.head, "side", lr=1e-4), 32)
    first = empty.get("/runs/big?fold=off")
    assert len(node_rows(first)) == len(first.all("td", class_="gutter")) == 10
    assert first.heading("Nodes").text == "Nodes 1 to 10 of 103 rows, 103 nodes"
    pages = [first]
    while older := pages[-1].by_role("link", "Older nodes"):
        pages.append(empty.get(older[0]["href"].partition("#")[0]))
    seen = [row["node"] for page in pages for row in node_rows(page)]
    assert len(seen) == len(set(seen)) == 103
    assert pages[4].heading("Nodes").text == "Nodes 41 to 50 of 103 rows, 103 nodes"
    back = pages[4].by_role("link", "Newer nodes")[0]["href"].partition("#")[0]
    assert node_rows(empty.get(back)) == node_rows(pages[3])
    # Behind the fork the lane of the other branch goes by, though its nodes are on other pages.
    assert pages[0].all("tr")[1].one("td", class_="gutter").classes[1] == "w1"
    assert {one.classes[1] for one in pages[2].all("td", class_="gutter")} == {"w1"}
    assert pages[-1].by_role("link", "Newest")


def test_the_run_can_be_named_by_its_id(site: Site) -> None:
    run = site.lines["main"].grower.run
    assert site.get(f"/runs/{run.id}").one("h1").text == "gpt2-docs"
    assert site.get(f"/runs/{run.id[:8]}").one("h1").text == "gpt2-docs"


def beside_the_lanes(page: dom.Element) -> dict[str, str]:
    """The last value of each branch, as it stands beside its lane."""
    values = page.one("ul", class_="names").all("span", class_="value")
    return {value["data-value"]: value.text for value in values}


def test_of_very_many_branches_the_trunk_and_what_matters_are_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("branchtrack.web.view.branch_choice.FEW", 3)
    page = site.get(TREE)
    shown = ["main", "cooler", "more-decay"]
    assert list(beside_the_lanes(page)) == shown
    assert {row["branch"] for row in node_rows(page)} == set(shown)
    choice = page.one(id="choice")
    assert "3 of 4 branches" in choice.text and "1 branch folded, best 2.683" in choice.text
    boxes = choice.all("input", type="checkbox")
    # The best held-out loss first.
    assert [one["value"] for one in boxes] == ["more-decay", "cooler", "main", "hot"]
    everything = site.get(choice.by_role("link", "Show all")[0]["href"])
    assert len(beside_the_lanes(everything)) == 4
    best = site.get(choice.by_role("link", "Path to the best")[0]["href"])
    assert list(beside_the_lanes(best)) == ["main", "cooler", "more-decay"]


def test_checkpoints_in_a_row_are_one_row_that_can_be_opened(own: Site) -> None:
    main = own.lines["main"]
    for step in range(41, 47):
        main.commit("checkpoint", step, loss=1.0 - step / 100)
    main.commit("intervention", 47, {"lr": 1e-4}, loss=0.5)
    main.commit("checkpoint", 48, loss=0.4)
    page = own.get("/runs/digits")
    rows = node_rows(page)
    assert [row["step"] for row in rows] == ["48", "47", "46", "0"]
    assert rows[2]["what changed"] == "7 checkpoints, 40–46"
    assert page.heading("Nodes").text == "Nodes 10 nodes"
    fold = page.by_role("link", "7 checkpoints")[0]["href"]
    opened = own.get(fold.partition("#")[0])
    steps = [row["step"] for row in node_rows(opened)]
    assert steps == ["48", "47", "46", "45", "44", "43", "42", "41", "40", "0"]
    assert opened.by_role("link", "Fold checkpoints")[0]["href"].startswith("/runs/digits#")
    assert [row["step"] for row in node_rows(own.get("/runs/digits?fold=off"))] == steps


def test_the_log_can_be_searched(site: Site) -> None:
    def said(text: str) -> list[str]:
        return [row["what changed"] for row in node_rows(site.get(f"{TREE}?q={text}"))]

    assert len(said("max_grad")) == 1 and "max_grad_norm 1 → 0.5" in said("max_grad")[0]
    assert len(said("oscillating")) == 1
    assert {row["branch"] for row in node_rows(site.get(TREE + "?q=hot"))} == {"hot"}
    node = site.node("cooler")
    assert [row["node"] for row in node_rows(site.get(f"{TREE}?q={node[:8]}"))] == [node[:8]]
    assert "No node has “nothing”" in site.get(TREE + "?q=nothing").one("main").text


def widen(site: Site, forks: int) -> None:
    """Grow a run whose root has so many forks, each with a lower loss than the one before."""
    grower = seeds.Grower(site.database, site.store, "wide")
    root = grower.line("main", 100).commit("root", 0)
    for number in range(forks):
        line = grower.fork(root, f"try-{number:02}", lr=1e-3)
        line.log("loss", [1], [20.0 - number])
        line.end("finished")


def test_a_search_reads_branches_that_are_folded_too(empty: Site) -> None:
    widen(empty, 20)
    assert "try-03" not in {row["branch"] for row in node_rows(empty.get("/runs/wide"))}
    assert [row["branch"] for row in node_rows(empty.get("/runs/wide?q=try-03"))] == ["try-03"]
    chosen = empty.get("/runs/wide?branch=try-04&q=try-03")
    assert "No node has “try-03”" in chosen.text


def test_of_many_forks_the_best_are_compared(empty: Site) -> None:
    widen(empty, 9)
    (link,) = empty.get("/runs/wide").by_role("link", "compare the best 7 of 9 forks")
    picked = parse_qs(urlsplit(link["href"]).query)["pick"]
    assert picked == ["wide/main", *(f"wide/try-{number:02}" for number in range(8, 1, -1))]


def test_a_window_of_steps_leaves_where_the_branches_are(site: Site) -> None:
    whole = beside_the_lanes(site.get(TREE))
    assert beside_the_lanes(site.get(TREE + "?from=100&to=500")) == whole


def test_a_run_that_cannot_record_says_so_until_it_can(own: Site) -> None:
    main = own.lines["main"]

    def note(state: str, reason: str = "") -> None:
        with own.database.transaction() as connection:
            audit.append(
                connection,
                main.grower.run.id,
                kind="trouble",
                ref=main.segment.id,
                state=state,
                actor="run",
                reason=reason,
                step=40,
                payload={"what": "commit", "time": 1.0},
            )

    assert "cannot record" not in own.get("/runs/digits").text
    note("begun", "The disk is <full>.")
    text = own.get("/runs/digits").text
    assert "main cannot record everything since step 40" in text and "The disk is <full>." in text
    note("over")
    assert "cannot record" not in own.get("/runs/digits").text


def test_a_run_that_ended_in_trouble_still_says_so(own: Site) -> None:
    main = own.lines["main"]
    with own.database.transaction() as connection:
        audit.append(
            connection,
            main.grower.run.id,
            kind="trouble",
            ref=main.segment.id,
            state="begun",
            actor="run",
            reason="full",
            step=40,
            payload={"what": "commit", "time": 1.0},
        )
    main.end("finished")
    assert "main could not record everything since step 40" in own.get("/runs/digits").text


def test_saves_that_were_missed_and_why_a_branch_ended_are_said(own: Site) -> None:
    main = own.lines["main"]
    assert "saves were not made" not in own.get("/runs/digits").text
    count = {"due": 40, "made": 37, "missed": [120, 130, 1400]}
    with own.database.transaction() as connection:
        segments.heartbeat(connection, main.segment.id, 40, None, {}, saves=count)
        segments.end(
            connection, main.segment.id, "stopped", actor="run", error="SIGTERM at step 40"
        )
    page = own.get("/runs/digits")
    text = page.text
    assert "main: 3 of 40 saves were not made, due at 120, 130, 1,400" in text
    assert "main stopped at step 40: SIGTERM at step 40" in text
    assert any("kind=save" in link.get("href") for link in page.all("a"))


def test_certificates_stand_beside_their_branches(site: Site) -> None:
    page = site.get("/runs/gpt2-docs")
    named = [one for one in page.all("span") if one.get("class").startswith("cert ")]
    marks = {one.text.partition(":")[0]: one["title"] for one in named}
    assert marks["exact"] == "certified exact (steps 800 to 1,400)"
    assert marks["equal"].startswith("equal in this trial; outside the tested matrix: 8 threads")
    assert marks["equal"].endswith("(steps 800 to 1,200; now at step 2,000)")
    assert marks["differs"].startswith("not exact: the tensor model/transformer.wte.weight differs")


def test_the_api_tells_each_branchs_certificate(site: Site) -> None:
    tree = site.client.get("/api/v1/runs/gpt2-docs/tree").get_json()
    found = {branch["name"]: branch["certificate"] for branch in tree["branches"]}
    assert found["more-decay"] is None and found["main"]["state"] == "exact"
    assert found["hot"]["difference"]["index"] == [17, 4]
    assert (found["cooler"]["from_step"], found["cooler"]["to_step"]) == (800, 1200)
