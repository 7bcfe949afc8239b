"""Resuming a node from its page."""

from __future__ import annotations

import pytest

from branchtrack.control import cancel_launch
from branchtrack.db import nodes, runs
from branchtrack.db.orders import launches
from branchtrack.db.storage import thinning
from branchtrack.db.tables import segments
from tests.web import dom, seeds
from tests.web.conftest import Site


def path(own: Site) -> str:
    return f"/nodes/{own.node('main')}/resume"


def count(own: Site) -> tuple[int, int]:
    """How many branches and launches there are."""
    with own.database.read() as connection:
        run = runs.find_run(connection, "digits")
        return len(runs.list_branches(connection, run.id)), len(launches.unfinished(connection))


def test_the_form_is_filled_with_what_is_in_force(own: Site) -> None:
    page = own.get(path(own))
    assert page.field("Name of the new branch")["value"] == "main-2"
    assert page.field("lr")["value"] == "5e-3"
    assert page.field("weight_decay")["value"] == "0.01"
    assert page.field("max_grad_norm")["value"] == "1"
    text = page.one("form", class_="form").text
    assert "in force: 5e-3" in text
    assert "greater than 0 and at most 100" in text


def test_the_form_offers_to_stop_early_and_says_how(own: Site) -> None:
    page = own.get(path(own))
    assert page.field("stop_at")["value"] == ""
    hint = page.one("p", id="about-stop_at").text
    assert "+N counts from the node" in hint and "Allowed: a whole number" in hint
    answer = own.client.post(path(own), data={"name": "short", "set.stop_at": "+2"})
    assert answer.status_code == 303
    with own.database.read() as connection:
        launch = launches.unfinished(connection)[0]
        step = nodes.get(connection, launch.node_id).step
    assert launch.overrides == {"stop_at": step + 2}


def test_the_address_can_fill_a_field_in(own: Site) -> None:
    assert own.get(path(own) + "?set.lr=3e-4").field("lr")["value"] == "3e-4"


def test_a_changed_field_becomes_an_override_of_a_new_branch(own: Site) -> None:
    answer = own.client.post(
        path(own),
        data={"name": "cooler", "set.lr": "3e-4", "set.weight_decay": "0.01", "reason": "noisy"},
    )
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/runs/digits#branch-cooler"
    with own.database.read() as connection:
        launch = launches.unfinished(connection)[0]
        fork = nodes.get(connection, launch.fork_node_id)
    assert launch.overrides == {"lr": 3e-4}
    assert launch.reason == "noisy"
    assert launch.actor.endswith("(web)")
    assert (fork.kind, fork.settings["lr"], fork.parent_id) == ("fork", 3e-4, own.node("main"))
    page = own.get("/runs/digits")
    assert page.one("li", id="branch-cooler")
    assert "cooler is waiting for a worker" in page.one("div", class_="banner").text


def test_a_form_sent_as_it_is_resumes_the_node_exactly(own: Site) -> None:
    form = {"name": "same", "set.lr": "0.005", "set.weight_decay": "", "set.max_grad_norm": "1.0"}
    assert own.client.post(path(own), data=form).status_code == 303
    with own.database.read() as connection:
        assert launches.unfinished(connection)[0].overrides == {}


@pytest.mark.parametrize("value", ["nan", "-1", "abc", "inf", "0", "1e9", "0x1", "1,5"])
def test_a_rate_that_is_not_allowed_is_refused_at_its_field(own: Site, value: str) -> None:
    before = count(own)
    page = own.post(path(own), 422, name="cooler", set_lr=value, reason="why not")
    field = page.field("lr")
    assert field["aria-invalid"] == "true"
    assert field["value"] == value
    said = page.one(id=field["aria-describedby"].split()[0]).text
    assert "is not accepted" in said and "greater than 0 and at most 100" in said
    assert page.field("Name of the new branch")["value"] == "cooler"
    assert page.field("Why")["value"] == "why not"
    assert "Nothing was changed." in page.one(role="alert").text
    assert count(own) == before


def test_all_fields_that_are_wrong_are_told_at_once(own: Site) -> None:
    page = own.post(path(own), 422, name="x", set_lr="abc", set_max_grad_norm="-3")
    wrong = [one["id"] for one in page.all("input") if one.get("aria-invalid") == "true"]
    assert wrong == ["set-lr", "set-max_grad_norm"]
    alert = page.one(role="alert").text
    assert "2 fields cannot be accepted: lr, max_grad_norm. Nothing" in alert


@pytest.mark.parametrize("name", ["main", "with space", "-dash", "a/b", "x" * 81, "<b>"])
def test_a_name_that_is_taken_or_not_valid_is_refused_at_its_field(own: Site, name: str) -> None:
    before = count(own)
    page = own.post(path(own), 422, name=name, set_lr="3e-4")
    field = page.field("Name of the new branch")
    assert field["aria-invalid"] == "true"
    assert field["value"] == name
    assert page.field("lr")["value"] == "3e-4"
    assert count(own) == before


def test_a_taken_name_comes_with_one_that_is_free(own: Site) -> None:
    assert "main-2" in own.post(path(own), 422, name="main").one(id="error-name").text


def test_an_overlong_reason_is_refused_at_its_field(own: Site) -> None:
    page = own.post(path(own), 422, name="x", reason="y" * 3000)
    assert page.field("Why")["aria-invalid"] == "true"


def test_a_field_that_the_form_does_not_have_starts_nothing(own: Site) -> None:
    before = count(own)
    answer = own.client.post(path(own), data={"nmae": "cooler", "set.lr": "3e-4"})
    assert answer.status_code == 422 and "nmae" in answer.text
    assert count(own) == before


def test_an_unknown_mode_is_refused(own: Site) -> None:
    page = own.post(path(own), 422, name="x", mode="sideways")
    assert "mode" in page.one(role="alert").text or "1 field" in page.one(role="alert").text


def one_file(own: Site) -> list[str]:
    return sorted(str(found) for found in own.config.store.rglob("*.safetensors"))


def test_a_checkpoint_whose_pack_is_cut_starts_nothing(own: Site) -> None:
    before = count(own)
    for name in one_file(own):
        with open(name, "r+b") as file:
            file.seek(-1, 2)
            file.truncate()
    page = own.post(path(own), 409, name="cooler", set_lr="3e-4")
    said = page.one(role="alert").text
    assert "cannot be restored" in said and "Resume from another node" in said
    assert page.field("lr")["value"] == "3e-4"
    assert count(own) == before


def test_a_checkpoint_that_is_gone_starts_nothing(own: Site) -> None:
    before = count(own)
    for found in own.config.store.rglob("*.safetensors"):
        found.unlink()
    page = own.post(path(own), 409, name="cooler")
    assert "cannot be restored" in page.one(role="alert").text
    assert count(own) == before


def test_a_run_without_a_command_cannot_be_started_again(own: Site) -> None:
    with own.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE runs SET entry_point = 'null'")
    page = own.post(path(own), 409, name="cooler")
    assert "recorded no command" in page.one(role="alert").text
    assert "branchtrack.start(..., resume=" in page.one(role="alert").text


def test_an_unknown_node_is_refused(own: Site) -> None:
    own.get("/nodes/ffffffff/resume", 404)
    own.post("/nodes/ffffffff/resume", 404, name="x")


def test_a_switch_that_nothing_is_said_of_is_left_alone(own: Site) -> None:
    form: dom.Element = own.get(path(own)).one("form", class_="form")
    switch = next(one for one in form.all("select") if one["name"] == "set.resize")
    assert [option.get("value", option.text) for option in switch.all("option")] == [
        "",
        "true",
        "false",
    ]


def test_a_run_without_settings_can_be_resumed_as_it_is(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "plain").line("main")
    line.settings = {}
    node = line.commit("root", 0)
    page = empty.get(f"/nodes/{node.id}/resume")
    assert "declared no settings" in page.one("form", class_="form").text
    assert empty.client.post(f"/nodes/{node.id}/resume", data={"name": "b"}).status_code == 303


def test_every_control_has_a_label_and_a_description(own: Site) -> None:
    page = own.get(path(own))
    form: dom.Element = page.one("form", class_="form")
    ids = {one["id"] for one in page.walk() if one.get("id")}
    labelled = {one["for"] for one in form.all("label")}
    for control in (one for one in form.all("input") if one.get("type") != "hidden"):
        assert control["id"] in labelled
        assert set(control["aria-describedby"].split()) <= ids


def test_a_preview_says_what_would_change_and_starts_nothing(own: Site) -> None:
    before = count(own)
    page = own.post(path(own) + "/preview", 200, name="cooler", set_lr="x0.5")
    said = page.one("section", id="preview").text
    assert "nothing was started" in said and "cooler" in said
    assert "lr 5e-3 → 2.5e-3" in said and "x0.5" in said and "restored" in said
    assert (
        page.field("lr")["value"] == "x0.5"
        and page.field("Name of the new branch")["value"] == "cooler"
    )
    assert count(own) == before


def test_a_preview_of_a_field_that_is_wrong_is_the_form_with_its_error(own: Site) -> None:
    page = own.post(path(own) + "/preview", 422, name="cooler", set_lr="x0")
    assert "makes 0" in page.one(id="error-lr").text
    assert not page.by_role("region", "Branches of the preview")


@pytest.mark.parametrize("value", ["+1e999999999", "+1e5000", f"+{'9' * 5000}"])
def test_a_preview_of_a_factor_beyond_every_number_names_the_field(own: Site, value: str) -> None:
    page = own.post(path(own) + "/preview", 422, name="cooler", set_stop_at=value)
    assert "too large a number" in page.one(id="error-stop_at").text


def test_a_preview_of_a_taken_name_says_that_it_would_be_refused(own: Site) -> None:
    page = own.post(path(own) + "/preview", 422, name="main")
    assert "already" in page.one("section", id="preview").text


def test_a_list_of_values_is_one_branch_each(own: Site) -> None:
    form = {"name": "main-2", "set.lr": "1e-4, x2", "group": "rates"}
    answer = own.client.post(path(own), data=form)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/runs/digits#branch-lr-1e-4"
    with own.database.read() as connection:
        orders = launches.unfinished(connection)
    assert [order.overrides for order in orders] == [{"lr": 1e-4}, {"lr": 0.01}]
    lane = own.get("/runs/digits").one("li", id="branch-lr-x2").text
    assert "rates" in lane


def test_every_value_of_a_list_is_judged(own: Site) -> None:
    before = count(own)
    page = own.post(path(own), 422, name="main-2", set_lr="1e-4, -1")
    assert "lr" in page.one(id="error-lr").text
    assert count(own) == before


def test_the_road_not_taken_is_offered_where_the_change_can_be_taken_back(own: Site) -> None:
    assert "Without the change" not in own.get(path(own)).text
    fork = own.client.post(path(own), data={"name": "hot", "set.lr": "0.5"})
    assert fork.status_code == 303
    with own.database.read() as connection:
        launch = launches.unfinished(connection)[0]
    page = own.get(f"/nodes/{launch.fork_node_id}/resume?without_change=1")
    assert "Without the change" in page.text and "lr 5e-3 → 0.5" in page.text
    form = {"name": "not-hot", "without_change": "1"}
    answer = own.client.post(f"/nodes/{launch.fork_node_id}/resume", data=form)
    assert answer.status_code == 303
    with own.database.read() as connection:
        taken = launches.unfinished(connection)[1]
    assert (taken.node_id, taken.overrides) == (own.node("main"), {})


def test_half_the_rate_is_one_button_of_the_page(own: Site) -> None:
    form = own.get(path(own)).one("form", aria_label="Start at once")
    assert [button.text for button in form.all("button")] == [
        "x0.5 2.5e-3",
        "x0.1 5e-4",
        "x2 0.01",
    ]
    answer = own.client.post(form["action"], data={"quick": "lr=x0.5"})
    assert answer.status_code == 303
    with own.database.read() as connection:
        (launch,) = launches.unfinished(connection)
    assert launch.overrides == {"lr": 2.5e-3}


def test_a_factor_beside_a_field_is_previewed_with_all_that_was_typed(own: Site) -> None:
    before = count(own)
    (button,) = own.get(path(own)).by_role("button", "lr x0.1")
    data = {"name": "cooler", "set.lr": "7", "set.weight_decay": "0.2", "quick": button["value"]}
    answer = own.client.post(button["formaction"], data=data)
    page = dom.parse(answer.get_data(as_text=True))
    assert page.field("lr")["value"] == "x0.1" and page.field("weight_decay")["value"] == "0.2"
    said = page.one("section", id="preview").text
    assert "lr 5e-3 → 5e-4" in said and "weight_decay 0.01 → 0.2" in said
    assert count(own) == before


def test_enter_in_a_field_starts_and_presses_no_factor(own: Site) -> None:
    form: dom.Element = own.get(path(own)).one("form", class_="form")
    first = form.all("button")[0]
    assert first.text == "Start" and "name" not in first.attributes


def test_where_and_when_it_trains_is_part_of_the_order(own: Site) -> None:
    data = {"name": "later", "labels": "gpu, big", "priority": "5", "retries": "2"}
    assert own.client.post(path(own), data=data).status_code == 303
    with own.database.read() as connection:
        (launch,) = launches.unfinished(connection)
    assert (launch.priority, launch.labels, launch.retries) == (5, ["big", "gpu"], 2)
    assert "1 launch in the queue before it" in own.get(path(own)).one("main").text


@pytest.mark.parametrize(
    ("field", "value"),
    [("priority", "soon"), ("priority", "5000"), ("labels", "a b"), ("retries", "-1")],
)
def test_a_wrong_turn_is_refused_at_its_field(own: Site, field: str, value: str) -> None:
    before = count(own)
    page = own.post(path(own), 422, **{"name": "later", field: value})
    wrong = [one for one in page.all("input") if one.get("aria-invalid") == "true"]
    assert [one["name"] for one in wrong] == [field] and wrong[0]["value"] == value
    assert count(own) == before


def test_time_and_disk_are_estimated_from_the_branch_so_far(own: Site) -> None:
    main = own.lines["main"]
    with own.database.transaction() as connection:
        connection.execute(
            segments.update()
            .where(segments.c.id == main.segment.id)
            .values(step=40, started_at=1000.0, heartbeat_at=1400.0)
        )
    text = own.get(path(own)).one("main").text
    assert "60 steps to step 100: about 10 min and" in text and "on disk, an estimate" in text
    said = own.post(path(own) + "/preview", 200, name="c", set_lr="x0.5, x0.1")
    assert "about 20 min and" in said.one("section", id="preview").text


def test_a_form_that_is_sent_twice_orders_once_and_leads_to_the_same(own: Site) -> None:
    def key(number: int) -> str:
        return own.get(path(own)).all("input", name="key")[number]["value"]

    before = count(own)[1]
    form = {"set.lr": "x0.5, x1,0.002", "name": "fan", "key": key(1)}
    answers = [own.client.post(path(own), data=form) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert count(own)[1] == before + 3
    single = {"set.lr": "x0.5", "name": "half", "key": key(1)}
    assert [own.client.post(path(own), data=single).status_code for _ in range(2)] == [303, 303]
    quick = {"quick": "lr=x0.5", "key": key(0)}
    assert [own.client.post(path(own), data=quick).status_code for _ in range(2)] == [303, 303]
    assert count(own)[1] == before + 5
    # What was changed before it was sent again, and what another form says, are other orders.
    own.client.post(path(own), data={**form, "set.lr": "0.003, 0.004"})
    own.client.post(path(own), data={**form, "key": key(1)})
    assert count(own)[1] == before + 10


def test_of_a_node_with_weights_alone_these_are_chosen_and_the_rest_is_refused_at_its_field(
    own: Site,
) -> None:
    with own.database.transaction() as connection:
        digest = nodes.get(connection, own.node("main")).state_digest
        thinning.mark(connection, {digest: "weights"})
    page = own.get(path(own))
    assert "the weights alone are left" in page.one("main").text
    assert "complete state" not in page.text and not page.all("form", aria_label="Start at once")
    chosen = [
        one["value"] for one in page.one(id="mode").all("option") if "selected" in one.attributes
    ]
    assert chosen == ["weights"]
    assert "its weights alone are left" in own.get(f"/nodes/{own.node('main')}").text
    before = count(own)
    refused = own.client.post(path(own), data={"name": "whole", "mode": "exact"})
    assert refused.status_code == 409 and count(own) == before
    error = dom.parse(refused.text).one(id="error-mode").text
    assert "thinned" in error and "What is taken from the node" in error and "--mode" not in error
    preview = own.post(path(own) + "/preview", 422, name="whole", mode="exact").one(id="preview")
    assert "What is taken from the node" in preview.text and "--mode" not in preview.text
    assert own.client.post(path(own), data={"name": "w", "mode": "weights"}).status_code == 303


def test_a_form_that_comes_again_after_its_order_was_cancelled_says_so_and_orders_nothing(
    own: Site,
) -> None:
    path = f"/nodes/{own.node('main')}/resume"
    *_quick, form = own.get(path).all("form", action=path)
    fields = {"key": form.one("input", name="key")["value"], "name": "again", "set.lr": "1e-4"}
    assert own.client.post(path, data=fields).status_code == 303
    with own.database.read() as connection:
        launch = launches.newest_of_run(connection, runs.find_run(connection, "digits").id)
    assert launch is not None
    cancel_launch(own.database, launch.id, actor="ann")
    answer = own.client.post(path, data=fields)
    assert answer.status_code == 422
    assert "what it ordered was cancelled or deleted since" in answer.text
    *_quick, form = dom.parse(answer.text).all("form", action=path)
    key = form.one("input", name="key")["value"]
    assert own.client.post(path, data={**fields, "key": key}).status_code == 303
