"""One trial: its verdicts, the picture and the table of its pairs, and what is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from branchtrack.core.records import Branch
from branchtrack.core.trials.records import CANCELLED, FAILED, RUNNING, SAME, Arm, Trial
from branchtrack.db import runs, tokens
from branchtrack.db.orders import trials
from tests.web import dom
from tests.web.conftest import Site, client_of
from tests.web.test_budgets import MOST, statements
from tests.web.tried import NAN, TRAINS, make_trial

#: Four pairs of which the change helps by about 0.01.
HELPFUL = [(2.0, 1.99), (2.1, 2.088), (1.9, 1.891), (2.05, 2.04)]
NEARLY = [(2.0, 1.99), (2.1, 2.098), (1.9, 1.889), (2.05, 2.046)]
UNCLEAR = [(2.0, 1.9), (2.1, 2.2), (1.9, 1.91), (2.05, 2.04)]


def ordered(own: Site, pairs: Sequence[Any] = HELPFUL, **facts: Any) -> Trial:
    main = own.lines["main"]
    assert main.head is not None
    return make_trial(main.grower, main.head, pairs, **facts)


def path_of(trial: Trial) -> str:
    return f"/runs/digits/trials/{trial.id}"


def post(own: Site, trial: Trial, deed: str, **form: str) -> str:
    """Where a form of the page leads once it is accepted."""
    answer = own.client.post(f"{path_of(trial)}/{deed}", data=form)
    assert answer.status_code == 303, answer.get_data(as_text=True)
    return answer.headers["Location"]


def facts_of(page: dom.Element) -> dict[str, str]:
    """What is said of the first change, by its term."""
    listed = page.one(class_="pairs-list")
    return {each.one("dt").text: each.one("dd").text for each in listed.children}


def branches(own: Site) -> list[Branch]:
    with own.database.read() as connection:
        run = runs.find_run(connection, "digits")
        return [b for b in runs.list_branches(connection, run.id) if not b.trashed_at]


def test_a_change_that_helps_is_said_with_effect_interval_margin_and_pairs(own: Site) -> None:
    page = own.get(path_of(ordered(own)))
    assert page.one("h1").text == "lr=x0.9"
    assert "s-held" in page.heading("lr=x0.9 helps").one(class_="chip").classes
    said = facts_of(page)
    assert said["verdict"] == "helps"
    assert said["effect"].startswith("−0.0102 (−0.0131 to −0.0074) 98 % interval")
    assert "lower is better" in said["effect"]
    assert said["margin"].startswith("2.013e-3")
    assert said["pairs"] == "4 judged after 3, 4"
    assert "to settle it" not in said


def test_its_pairs_are_listed_with_both_branches(own: Site) -> None:
    trial = ordered(own)
    (region,) = own.get(path_of(trial)).by_role("region", "Pairs of lr=x0.9")
    rows = region.one("tbody").all("tr")
    cells = [cell.text for cell in rows[1].children]
    node = trial.spec.nodes[0]
    assert cells == [
        "2",
        f"{node[:8]} step 40",
        "1002",
        "2.100",
        "trial-lr-x0.9-control-2",
        "2.088",
        "trial-lr-x0.9-changed1-2",
        "−0.0120",
        "Compare",
    ]
    (link,) = rows[1].by_role("link", "Compare pair 2")
    own.get(link["href"])
    own.get(rows[1].by_role("link", "changed1-2")[0]["href"])


def test_the_picture_is_described_for_those_who_do_not_see_it(own: Site) -> None:
    drawing = own.get(path_of(ordered(own))).one("svg", role="img")
    names = drawing["aria-labelledby"].split()
    assert [drawing.one(id=name).text for name in names] == [
        "Differences of the pairs, lr=x0.9",
        "lr=x0.9: helps; effect −0.0102 (−0.0131 to −0.0074); 4 pairs from −0.0120 to −0.0090",
    ]
    assert [text.text for text in drawing.all("text", text_anchor="end")][-1] == "−0.0102"


def test_what_is_inconclusive_says_how_much_would_settle_it_and_leads_there(own: Site) -> None:
    page = own.get(path_of(ordered(own, NEARLY, reason="")))
    assert "s-waiting" in page.heading("inconclusive").one(class_="chip").classes
    assert "repeats more" in facts_of(page)["to settle it"]
    (more,) = page.by_role("link", "a new trial with them")
    form = own.get(more["href"])
    assert form.field("Settings").text == "lr=x0.9"
    assert int(form.field("Pairs at most")["value"]) > 4
    assert form.field("Updates of each training")["value"] == "100"
    assert "selected" in form.field("Metric").one("option").attributes


def test_one_that_runs_says_how_far_it_is_and_keeps_itself_up_to_date(own: Site) -> None:
    pairs = [*HELPFUL[:2], (2.0, TRAINS)]
    trial = ordered(own, pairs, state=RUNNING, repeats=8)
    page = own.get(path_of(trial))
    facts = page.one(class_="facts").text
    assert "pairs 2 of at most 8" in facts and "500 of at most 1,600" in facts
    live = page.one(id="live")
    assert (live["hx-get"], live["hx-trigger"]) == (path_of(trial), "every 2s")
    assert page.heading("lr=x0.9 pending")
    assert facts_of(page)["effect"].startswith("−0.0110")
    assert page.table("Pairs")[2]["difference"] == "not yet"
    assert page.by_role("button", "Promote") == []
    headers = {"HX-Request": "true", "HX-Target": "div#live"}
    part = own.client.get(path_of(trial), headers=headers).get_data(as_text=True)
    assert part.strip().startswith('<div id="live"') and "</svg>" in part


def test_one_that_is_over_is_not_asked_for_again(own: Site) -> None:
    assert "hx-get" not in own.get(path_of(ordered(own))).one(id="live").attributes


def test_pairs_that_diverged_are_named_and_have_no_difference(own: Site) -> None:
    page = own.get(path_of(ordered(own, [(2.0, NAN), (2.1, NAN), (1.9, NAN)])))
    assert "s-failed" in page.heading("hurts").one(class_="chip").classes
    assert facts_of(page)["verdict"] == "hurts: 3 of 3 pairs diverged with the change alone"
    assert page.table("Pairs")[0]["difference"] == "diverged with the change"
    assert "pairs 3 of at most 3" in page.one(class_="facts").text


def test_several_changes_are_one_above_the_other(own: Site) -> None:
    arms = [Arm("lr=x0.5", {"lr": "x0.5"}), Arm("lr=x3", {"lr": "x3"})]
    pairs = [(2.0, 1.99, 2.3), (2.1, 2.088, 2.41), (1.9, 1.891, 2.2), (2.05, 2.04, 2.35)]
    page = own.get(path_of(ordered(own, pairs, arms=arms)))
    assert page.one("h1").text == "lr=x0.5; lr=x3"
    assert [h.text for h in page.all("h2")][:2] == ["lr=x0.5 helps", "lr=x3 hurts"]
    assert len(page.all("svg", role="img")) == 2
    (more,) = page.by_role("link", "Again with more repeats")
    assert own.get(more["href"]).field("Settings").text == "lr=x0.5,x3"


def test_a_check_of_nothing_says_so_with_its_floor(own: Site) -> None:
    arms = [Arm("nothing changed")]
    trial = ordered(own, [(2.0, 2.0), (2.1, 2.101), (2.2, 2.2)], kind=SAME, arms=arms)
    page = own.get(path_of(trial))
    assert "Nothing is changed: an A/A check" in page.one(class_="what").text
    assert facts_of(page)["floor"].startswith("1e-3")


def test_a_failure_is_said(own: Site) -> None:
    page = own.get(path_of(ordered(own, [], state=FAILED, error="No pair has both values.")))
    assert page.one(class_="banner").text == "No pair has both values."
    assert "No pair has begun yet" in page.text


def test_it_is_cancelled_while_it_runs(own: Site) -> None:
    trial = ordered(own, HELPFUL[:3], state=RUNNING, repeats=8)
    page = own.get(path_of(trial))
    (button,) = page.by_role("button", "Cancel the trial")
    form = next(each for each in button.and_above() if each.tag == "form")
    answer = own.client.post(form["action"], data={"reason": "enough"})
    assert (answer.status_code, answer.headers["Location"]) == (303, path_of(trial))
    with own.database.read() as connection:
        now = trials.get(connection, trial.id)
    assert (now.state, now.error) == (CANCELLED, "enough")
    own.post(form["action"], 422)


def test_its_branches_go_to_the_trash_and_its_verdict_stays(own: Site) -> None:
    trial = ordered(own)
    assert len(branches(own)) == 9
    post(own, trial, "remove", reason="tidy")
    assert [branch.name for branch in branches(own)] == ["main"]
    page = own.get(path_of(trial))
    assert page.heading("lr=x0.9 helps")
    assert "None is left of them" in page.text
    assert page.table("Pairs")[0]["control branch"] == ""
    assert page.by_role("link", "Compare its branches") == []
    # Nothing is left to be removed.
    assert "no branches left" in own.post(f"{path_of(trial)}/remove", 422).text


def test_the_best_branch_is_kept_under_a_name_of_its_own(own: Site) -> None:
    trial = ordered(own)
    address = post(own, trial, "promote", name="cooler", branch="")
    assert address == "/runs/digits?path=cooler#branch-cooler"
    (kept,) = [branch for branch in branches(own) if branch.name == "cooler"]
    # The third pair ended lowest.
    assert kept.group_id is None and "trial-lr-x0.9-changed1-3" not in own.get("/runs/digits").text
    own.get(address.partition("#")[0])


def test_another_branch_is_kept_and_a_bad_name_shows_the_form_again(own: Site) -> None:
    trial = ordered(own, UNCLEAR)
    page = own.get(path_of(trial))
    choices = [option.text for option in page.field("Branch").all("option")]
    assert "the best one with the change that helps" not in choices
    again = own.post(f"{path_of(trial)}/promote", 422, name="no/name", branch=choices[0])
    assert again.field("Its new name")["value"] == "no/name"
    assert again.by_role("alert")
    # Of another trial, or of none.
    assert "main" in own.post(f"{path_of(trial)}/promote", 422, name="x", branch="main").text
    post(own, trial, "promote", name="kept", branch=choices[0])
    assert "kept" in [branch.name for branch in branches(own)]


def test_a_trial_is_found_on_its_own_run_alone(own: Site) -> None:
    trial = ordered(own)
    own.get(f"/runs/digits/trials/{trial.id[:8]}")
    own.get("/runs/digits/trials/ffffffff", 404)
    with own.database.transaction() as connection:
        runs.create_run(connection, "other", actor="test")
    own.get(f"/runs/other/trials/{trial.id}", 404)


def test_what_a_viewer_may_not_do_is_disabled_with_the_reason(own: Site) -> None:
    trial = ordered(own)
    running = ordered(own, HELPFUL[:2], state=RUNNING, group="more")
    own.app.config["BRANCHTRACK_TOKEN"] = "secret"
    with own.database.transaction() as connection:
        _token, secret = tokens.create(connection, "guest", "viewer", created_by="test")
    headers = {"Authorization": f"Bearer {secret}"}
    for path in (path_of(trial), path_of(running)):
        page = dom.parse(client_of(own.app).get(path, headers=headers).get_data(as_text=True))
        for button in page.one("main").all("button"):
            disabled = [each for each in button.and_above() if "disabled" in each.attributes]
            assert disabled and "may read" in disabled[0]["title"]


def test_a_trial_of_many_pairs_is_read_in_few_statements(own: Site) -> None:
    trial = ordered(own, HELPFUL * 3, is_grown=False)
    with statements(own) as seen:
        own.get(path_of(trial))
    assert 0 < len(seen) <= MOST, seen


def test_trainings_of_a_cancelled_trial_are_not_said_to_have_failed(own: Site) -> None:
    trial = ordered(own, [(TRAINS, TRAINS)], state=RUNNING, repeats=4)
    post(own, trial, "cancel", reason="enough")
    page = own.get(path_of(trial))
    (row,) = page.table("Pairs of lr=x0.9")
    assert (row["control"], row["changed"], row["difference"]) == ("cancelled",) * 3
    assert "failed" not in page.text and "margin" not in facts_of(page)
