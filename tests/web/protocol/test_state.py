"""The state of a branch as clients of the protocol read it."""

from __future__ import annotations

from tests.web.conftest import Site
from tests.web.protocol.client import ProtocolClient


def test_settings_are_knobs_with_their_bounds(own: Site) -> None:
    state = ProtocolClient(own).state()
    (lr,) = (knob for knob in state["knobs"] if knob["name"] == "lr")
    assert lr.keys() == {"name", "value", "dtype", "min", "max", "step", "description"}
    assert lr["value"] == own.lines["main"].settings["lr"] and lr["dtype"] == "float"
    assert lr["min"] == 0.0 and "greater than 0" in lr["description"]
    assert all(knob["dtype"] in ("float", "int", "bool", "str") for knob in state["knobs"])


def test_a_state_has_all_that_clients_look_for(own: Site) -> None:
    state = ProtocolClient(own).state()
    assert state["status"] == "running" and state["step"] == 40 and state["branch_id"] == "main"
    assert state["agent"] == {"attached": False, "active": False}
    assert state["goal"] is None and state["context"] == "" and state["round"] == 0
    assert [entry["id"] for entry in state["branches"]] == ["main"]
    assert [entry["step"] for entry in state["checkpoints"]] == [0, 40]
    assert set(state["checkpoints"][0]) == {"id", "path", "step", "tag", "branch_id", "ts"}


def test_actions_are_listed_with_the_script_s_own(own: Site) -> None:
    own.lines["main"].offer()
    actions = {entry["type"]: entry for entry in ProtocolClient(own).state()["actions"]}
    assert actions["set_knob"]["payload_keys"] == ["name", "value"]
    assert {"pause", "resume", "load_checkpoint", "note"} <= actions.keys()
    (own_name,) = actions.keys() - {
        *"set_knob save_checkpoint load_checkpoint pause resume stop evaluate".split(),
        *"reset_module freeze unfreeze note".split(),
    }
    assert actions[own_name]["payload_keys"] == ["threshold", "soft"]


def test_modules_are_a_tree(own: Site) -> None:
    assert ProtocolClient(own).state()["model_tree"] is None
    own.lines["main"].offer()
    tree = ProtocolClient(own).state()["model_tree"]
    assert [child["name"] for child in tree["children"]] == ["encoder", "head"]
    layers, parameters = (
        [entry["name"] for entry in each["children"]] for each in tree["children"]
    )
    assert layers == ["encoder.layer.0", "encoder.layer.1"]
    assert parameters == ["head.bias", "head.weight"]


def test_a_fork_names_where_it_comes_from(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    fork = main.grower.fork(main.head, "cooler", lr=0.001)
    fork.end("finished")
    state = ProtocolClient(own, "/it/digits/cooler").state()
    (entry,) = (branch for branch in state["branches"] if branch["id"] == "cooler")
    assert entry["parent"] == "main" and entry["from_checkpoint"] == main.head.id
    assert state["status"] == "ended"
