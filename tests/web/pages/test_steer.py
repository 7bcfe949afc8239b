"""The page that steers one branch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchtrack.core.builtin_settings import (
    BUILT_IN,
    FROZEN,
    HORIZON,
    LABEL_SMOOTHING,
    LOGGING_STEPS,
    MAX_STEPS,
    OPTIMIZER,
    at_once,
)
from branchtrack.core.interventions import INTERVENTIONS
from branchtrack.core.preconditions import NAMES as CONDITIONS
from branchtrack.core.records import Request
from branchtrack.core.settings import Setting
from branchtrack.db import requests, runs
from branchtrack.db.orders import launches
from branchtrack.db.tables import segments
from tests.web import dom
from tests.web.conftest import Site
from tests.web.test_budgets import statements

PATH = "/runs/digits/branches/main/steer"
STOP = "/runs/digits/branches/main/stop"
#: Fields of forms that say how a request is meant, and options that forms do not have.
MEANT = {"kind", "reason", *CONDITIONS}
NOT_IN_FORMS = {
    "set": {"clamp"},
    "pause": {"free", "seconds"},
    "unpause": {"pause"},
    "checkpoint": {"message"},
    "data": {"fingerprints"},
}


@pytest.fixture
def rich(own: Site) -> Site:
    """The small tree, whose process offers more than the usual."""
    own.lines["main"].offer()
    return own


def inside_details(form: dom.Element, field: dom.Element) -> bool:
    return any(field is other for folded in form.all("details") for other in folded.walk())


def listed(site: Site) -> list[Request]:
    with site.database.read() as connection:
        return requests.list_of_run(connection, runs.find_run(connection, "digits").id)


def send(site: Site, status: int, path: str = PATH, **form: Any) -> dom.Element:
    answer = site.client.post(path, data=form)
    text = answer.get_data(as_text=True)
    assert answer.status_code == status, text[:2000]
    return dom.parse(text if status != 303 else "")


def test_every_setting_is_there_with_what_is_in_force_and_what_was_used(rich: Site) -> None:
    main = rich.lines["main"]
    main.commit("intervention", 50, {"lr": 5e-3})
    page = rich.get(PATH)
    text = page.one("main").text
    for word in (
        "lr x0.5 x0.1 x2 now 5e-3; used at step 51: 5e-3, in effect 4.5e-3",
        "temperature K",
        "of the sampling",
        "Takes effect from the next update",
        "Only when a node is resumed",
    ):
        assert word in text
    groups = [one.text for one in page.all("p", class_="group")]
    assert groups == ["The script’s own"]
    first = page.one("form", id="controls")
    always = [field["name"] for field in first.all("input") if not inside_details(first, field)]
    assert [name for name in always if name.startswith("set.")] == [
        "set.lr",
        "set.max_grad_norm",
        "set.weight_decay",
        "set.dropout",
        "set.temperature",
    ]
    assert page.field("temperature")["value"] == "2" or page.field("temperature K")["value"] == "2"


def test_settings_of_the_loop_are_not_the_scripts_own(own: Site) -> None:
    main = own.lines["main"]
    known = [at_once(one) for one in (MAX_STEPS, HORIZON, LOGGING_STEPS, LABEL_SMOOTHING)]
    known += [Setting("alpha", group=OPTIMIZER), FROZEN]
    main.settings |= {"frozen": "", "max_steps": 100}
    with own.database.transaction() as connection:
        connection.execute(
            segments.update()
            .where(segments.c.id == main.segment.id)
            .values(declared=[one.as_dict() for one in known], settings=main.settings)
        )
    main.commit("intervention", 50, {"lr": 5e-3})
    page = own.get(PATH)
    assert [one.text for one in page.all("p", class_="group")] == [
        "Schedule and length",
        "Logging and saving",
    ]
    assert "now none; used at step 51: none" in page.one("main").text


def test_many_settings_are_asked_for_under_conditions(rich: Site) -> None:
    form = {
        "kind": "set",
        "set.lr": "1e-3",
        "set.temperature": "3",
        "set.weight_decay": "0.01",
        "reason": "try",
        "only_if": "lr=5e-3\n",
        "not_after_step": "90",
        "expires_in": "",
    }
    answer = rich.client.post(PATH, data=form)
    assert answer.status_code == 303 and answer.headers["Location"] == PATH + "#controls"
    (found,) = listed(rich)
    assert found.requested["values"] == {"lr": 1e-3, "temperature": 3.0}
    assert found.conditions == {"only_if": {"lr": 5e-3}, "not_after_step": 90}
    row = rich.get(PATH).table("Requests")[0]
    assert (row["state"], row["what"]) == (
        "waiting for the trainer",
        "set lr = 1e-3, temperature = 3 only if lr = 5e-3 by step 90",
    )


def test_a_preview_shows_what_would_change_and_asks_for_nothing(rich: Site) -> None:
    page = send(
        rich, 200, PATH + "/preview", **{"kind": "set", "set.lr": "1e-3", "only_if": "lr=1"}
    )
    told = page.one(role="status", class_="banner").text
    assert "lr: 5e-3 → 1e-3, from the next update" in told and "it is 5e-3" in told
    assert page.field("lr")["value"] == "1e-3"
    bad = send(rich, 422, PATH + "/preview", **{"kind": "set", "set.lr": "-1"})
    assert "greater than 0" in bad.one(role="alert").text
    assert listed(rich) == []


@pytest.mark.parametrize(
    ("form", "label"),
    [
        ({"kind": "set", "set.lr": "nan"}, "lr"),
        ({"kind": "freeze", "modules": "nope"}, "Modules"),
        ({"kind": "reset", "modules": ""}, "Modules"),
        ({"kind": "act", "action": "relabel", "arg.threshold": "2"}, "threshold"),
        ({"kind": "note", "text": ""}, "A remark for the record"),
        ({"kind": "set", "set.lr": "1e-3", "not_after_step": "3"}, "Not after step"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_stays_as_typed(
    rich: Site, form: dict[str, str], label: str
) -> None:
    page = send(rich, 422, **form)
    marked = page.all(aria_invalid="true")
    assert len(marked) == 1 and marked[0].get("value") == list(form.values())[-1]
    assert page.one(role="alert").text
    assert [one.state for one in listed(rich)] == ["rejected"]


@pytest.mark.parametrize(
    ("form", "requested"),
    [
        ({"kind": "pause", "reason": ""}, {}),
        ({"kind": "stop", "when": "epoch"}, {"when": "epoch"}),
        ({"kind": "unfreeze", "modules": "enc*"}, {"modules": "enc*"}),
        (
            {"kind": "rewind", "node": "NODE", "name": "", "values": "lr=1e-3"},
            {"values": {"lr": 1e-3}},
        ),
        (
            {"kind": "act", "action": "relabel", "arg.threshold": "0.5", "arg.soft": "false"},
            {"action": "relabel", "arguments": {"threshold": 0.5, "soft": False}},
        ),
    ],
)
def test_each_action_is_asked_for(
    rich: Site, form: dict[str, str], requested: dict[str, Any]
) -> None:
    send(rich, 303, **{name: rich.node("main") if v == "NODE" else v for name, v in form.items()})
    (found,) = listed(rich)
    assert (found.kind, found.state) == (form["kind"], "accepted")
    assert {**found.requested, **requested} == found.requested


def test_a_waiting_request_can_be_cancelled(rich: Site) -> None:
    rich.lines["main"].ask({"kind": "checkpoint"}, "why")
    (button,) = rich.get(PATH).by_role("button", "Cancel checkpoint")
    assert button is not None
    send(rich, 303, f"/requests/{listed(rich)[0].id}/cancel")
    assert listed(rich)[0].cancel is not None
    assert "cancellation requested" in rich.get(PATH).one("main").text


def test_what_is_done_is_told_with_all_three_values(rich: Site) -> None:
    rich.lines["main"].ask(
        {"kind": "set", "values": {"lr": 1e-3}},
        "",
        "applied verified",
        step=41,
        before={"lr": 5e-3},
        applied={"lr": 1e-3},
        effective={"lr": 1e-3, "step": 42},
    )
    row = rich.get(PATH).table("Requests")[0]
    assert (row["before → applied"], row["used"]) == ("lr 5e-3 → 1e-3", "lr 1e-3")


def test_a_branch_that_ended_takes_notes_alone_and_shows_nothing_as_waiting(rich: Site) -> None:
    rich.lines["main"].ask({"kind": "checkpoint"}, "too late")
    rich.lines["main"].end("failed")
    page = rich.get(PATH)
    assert "Nothing trains main now: it is failed" in page.one("main").text
    assert page.table("Requests")[0]["state"] == "expired"
    send(rich, 303, kind="note", text="it ran out of data")
    assert listed(rich)[0].state == "done"
    send(rich, 409, kind="pause")


def test_a_paused_branch_says_so_and_can_go_on(rich: Site) -> None:
    with rich.database.transaction() as connection:
        connection.execute(segments.update().values(status="paused"))
    assert rich.get(PATH).by_role("button", "Continue")
    assert "1 branch paused" in rich.get("/runs/digits").one("p", class_="chips").text
    assert "paused" in rich.get("/").table("Runs")[0]["status"]


def test_the_live_part_alone_is_answered_to_who_asks_for_it(rich: Site) -> None:
    headers = {"HX-Request": "true", "HX-Target": "div#live"}
    with statements(rich) as seen:
        text = rich.client.get(PATH, headers=headers).get_data(as_text=True)
    assert text.lstrip().startswith('<div id="live"') and len(seen) <= 5
    lower = rich.client.get(PATH + "?part=requests", headers=headers).get_data(as_text=True)
    assert "set.lr" in text and "set.lr" not in lower


def test_a_branch_that_there_is_not_is_missing(rich: Site) -> None:
    rich.get("/runs/digits/branches/nope/steer", 404)


def test_details_are_folded_away(rich: Site) -> None:
    known = [one.as_dict() for one in (BUILT_IN[0], replace(BUILT_IN[0], name="lr.0", detail=True))]
    with rich.database.transaction() as connection:
        connection.execute(segments.update().values(declared=known))
    page = rich.get(PATH)
    assert "More settings (1) Parameter groups and modules lr.0" in page.one("main").text


@pytest.mark.parametrize("opened", [PATH, "/runs/digits"])
def test_a_form_sent_after_another_s_change_does_not_take_that_back(own: Site, opened: str) -> None:
    (form,) = [
        form
        for form in own.get(opened).all("form", method="post")
        if [field for field in form.all("input") if field.get("name") == "set.lr"]
    ]
    fields = {field["name"]: field["value"] for field in form.all("input") if field.get("name")}
    own.lines["main"].commit("intervention", 50, {"lr": 5e-3})
    fields = {"kind": "set", **fields, "set.weight_decay": "0.2"}
    send(own, 303, form["action"], **fields)
    assert listed(own)[0].payload == {"values": {"weight_decay": "0.2"}}


def test_a_factor_beside_a_rate_is_asked_for_at_once(rich: Site) -> None:
    controls = rich.get(PATH).one("form", id="controls")
    assert [button["value"] for button in controls.all("button", name="quick")] == [
        "lr=x0.5",
        "lr=x0.1",
        "lr=x2",
    ]
    send(rich, 303, quick="lr=x0.5", **{"set.lr": "7", "was.lr": "5e-3", "reason": "too hot"})
    (found,) = listed(rich)
    # What was asked is kept beside what it came to, and holds only while the rate is still so.
    assert found.payload == {"values": {"lr": "x0.5"}}
    assert found.requested["values"] == {"lr": 2.5e-3}
    assert found.conditions == {"only_if": {"lr": 5e-3}}
    wrong = send(rich, 422, quick="lr=x1000000", **{"set.lr": "5e-3"})
    assert wrong.field("lr")["value"] == "x1000000"
    beyond = send(rich, 422, kind="set", **{"set.lr": "x1e999999999", "was.lr": "5e-3"})
    assert "too large a number" in beyond.one("main").text


def test_what_was_typed_survives_another_button_of_the_form(rich: Site) -> None:
    answer = rich.client.post(
        PATH, data={"kind": "pause", "set.lr": "7e-4", "was.lr": "5e-3", "set.dropout": "0.1"}
    )
    location = answer.headers["Location"]
    page = rich.get(location.partition("#")[0])
    assert page.field("lr")["value"] == "7e-4"
    assert [one.kind for one in listed(rich)] == ["pause"]


def test_enter_in_a_field_applies_and_nothing_else(rich: Site) -> None:
    first = rich.get(PATH).one("form", id="controls").all("button")[0]
    assert (first["name"], first["value"]) == ("kind", "set")
    assert "formaction" not in first.attributes


def test_pause_and_continue_are_never_folded_away(rich: Site) -> None:
    for status, word in (("running", "Pause"), ("paused", "Continue")):
        with rich.database.transaction() as connection:
            connection.execute(segments.update().values(status=status))
        page = rich.get(PATH)
        (button,) = [one for one in page.all("button", name="kind") if one.text == word]
        folded = [field for details in page.all("details") for field in details.walk()]
        assert all(button is not field for field in folded)


def test_the_last_answer_is_beside_the_buttons(rich: Site) -> None:
    line = rich.lines["main"]
    line.ask(
        {"kind": "set", "values": {"lr": 1e-3}},
        "",
        "applied verified",
        step=41,
        before={"lr": 5e-3},
        applied={"lr": 1e-3},
        effective={"lr": 1e-3, "step": 42},
    )
    answer = rich.get(PATH).one("span", class_="answer").text
    assert answer.startswith("last request verified set lr = 1e-3")
    assert "at step 41; lr 5e-3 → 1e-3, used 1e-3" in answer
    send(rich, 422, kind="set", **{"set.lr": "-1"})
    answer = rich.get(PATH).one("span", class_="answer").text
    assert "rejected" in answer and "greater than 0" in answer


def test_the_cockpit_says_what_the_training_does_now(rich: Site) -> None:
    main = rich.lines["main"]
    for name, value in (
        ("learning_rate", 8.1e-4),
        ("system/cpu", 43.2),
        ("system/memory", 3.1e9),
        ("system/memory_percent", 61.0),
        ("system/gpu", 97.0),
        ("system/gpu_memory", 6.1e10),
    ):
        main.log(name, [38, 40], [value / 2, value])
    page = rich.get(PATH)
    text = page.one("dl", class_="facts").text
    for words in (
        "lr now 8.1e-4 at 40",
        "done 40 %",
        "CPU 43 %",
        "memory 3.1 GB, machine 61 %",
        "GPU 97 %, 61.0 GB",
        "expected end in",
        "last heard of just now",
    ):
        assert words in text, words
    assert page.one("progress")["value"] == "0.4000"
    assert "started by hand" in page.one("main").text


def test_the_end_of_a_launched_process_s_output_is_there(rich: Site) -> None:
    main = rich.lines["main"]
    assert main.head is not None
    line = main.grower.fork(main.head, "launched")
    with rich.database.read() as connection:
        launch = launches.of_branch(connection, line.branch.id)
    assert launch is not None
    rich.config.logs.mkdir(parents=True, exist_ok=True)
    (rich.config.logs / f"{launch.id}.log").write_text("epoch 1\nepoch 2\n")
    page = rich.get("/runs/digits/branches/launched/steer")
    assert "epoch 2" in page.one("pre").text
    assert page.by_role("link", "More of it")


def test_the_charts_of_the_branch_are_those_of_its_run(rich: Site) -> None:
    page = rich.get(PATH)
    charts = page.one("div", id="charts")
    assert charts["data-url"] == "/runs/digits/chart?path=main"
    answer = rich.client.get(charts["data-url"]).get_json()
    assert [[line["name"] for line in one["lines"]] for one in answer["charts"]] == [["main"]]
    assert "metric=loss&metric=eval_loss" in page.one("div", id="stream")["data-url"]


def test_other_settings_are_unfolded_if_something_was_typed_into_them(rich: Site) -> None:
    page = rich.post(PATH + "/preview", 200, kind="set", **{"set.lr": "1e-4", "was.lr": "5e-3"})
    (details,) = [part for part in page.all("details") if "More settings" in part.text]
    assert "open" not in details.attributes
    names = [each.get("name") for tag in ("input", "select") for each in details.all(tag)]
    name = next(name for name in names if name.startswith("set."))
    answer = rich.client.post(PATH + "/preview", data={"kind": "set", name: "typed"})
    page = dom.parse(answer.get_data(as_text=True))
    (details,) = [part for part in page.all("details") if "More settings" in part.text]
    assert "open" in details.attributes


def test_an_untouched_field_is_no_change_whatever_its_page_showed_last(rich: Site) -> None:
    fields = {"set.lr": "2e-3", "was.lr": "5e-3", "now.lr": "2e-3", "set.dropout": "0.2"}
    rich.client.post(PATH, data={"kind": "set", **fields})
    assert listed(rich)[0].payload["values"] == {"dropout": "0.2"}


def test_a_pause_from_the_tree_leads_to_its_buttons_and_their_answer(rich: Site) -> None:
    answer = rich.client.post(PATH + "?back=tree", data={"kind": "pause"})
    assert answer.headers["Location"] == "/runs/digits"
    (form,) = forms_of(rich.get("/runs/digits"), "pause")
    assert "waiting for the trainer" in form.one("span", class_="answer").text
    answer = rich.client.post(PATH + "?back=tree", data={"kind": "checkpoint"})
    assert answer.headers["Location"] == "/runs/digits#requests"


def forms_of(page: dom.Element, kind: str) -> list[dom.Element]:
    """The forms of a page that can request that kind."""

    def kinds(form: dom.Element) -> list[str]:
        chosen = [option.get("value") for option in form.all("option")]
        elsewhere = page.all("button", form=form.get("id", "?"))
        named = [*form.all("input", name="kind"), *form.all("button", name="kind"), *elsewhere]
        return [*(field.get("value") for field in named), *chosen]

    return [form for form in page.all("form", method="post") if kind in kinds(form)]


def options_of(form: dom.Element) -> set[str]:
    """The options of a request that a form has fields for."""
    tags = ("input", "select", "textarea", "button")
    names = {field.get("name") for tag in tags for field in form.all(tag)} - {""}
    groups = {"set": "values", "was": "values", "now": "values", "arg": "arguments"}
    parts = (name.partition(".") for name in names)
    return {groups[first] if dot else first for first, dot, _rest in parts}


@pytest.mark.parametrize("kind", INTERVENTIONS)
def test_every_kind_has_a_form_with_the_fields_and_the_word_of_its_model(
    rich: Site, kind: str
) -> None:
    if kind == "unpause":
        with rich.database.transaction() as connection:
            connection.execute(segments.update().values(status="paused"))
    model = INTERVENTIONS[kind]
    page = rich.get(STOP if kind == "stop" else PATH)
    (form,) = forms_of(page, kind)
    expected = set(model.options()) - NOT_IN_FORMS.get(kind, set())
    others = {"values", "quick"} if form.get("id") == "controls" else set()
    assert options_of(form) - MEANT == expected | others
    buttons = [*form.all("button"), *page.all("button", form=form.get("id", "?"))]
    assert [button for button in buttons if button.text.startswith(model.label)]
    if model.needs_process and kind != "stop":
        assert options_of(form) >= MEANT


@pytest.mark.parametrize("kind", ["set", "pause", "checkpoint", "evaluate"])
def test_the_short_forms_of_the_tree_have_the_same_words(rich: Site, kind: str) -> None:
    page = rich.get("/runs/digits")
    folded = page.one("details", class_="steer")
    (form,) = forms_of(page if kind == "pause" else folded, kind)
    assert INTERVENTIONS[kind].label in [button.text for button in form.all("button")]
    assert options_of(form) - MEANT == ({"values"} if kind == "set" else set())


@pytest.mark.parametrize("kind", ["pause", "evaluate"])
def test_a_button_that_was_pressed_in_vain_says_so_once(rich: Site, kind: str) -> None:
    page = send(rich, 422, kind=kind, not_after_step="3")
    assert page.one(role="alert").text
    assert page.one(aria_invalid="true")["value"] == "3"


def test_the_page_that_a_form_is_from_has_to_be_one(rich: Site) -> None:
    send(rich, 422, PATH + "?back=elsewhere", kind="pause")
    assert listed(rich) == []
