"""The page of one node."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.core.records import NewNode, Node
from branchtrack.db import nodes, runs, segments
from branchtrack.db.views import tree_outline
from branchtrack.db.views.nearby import node_place
from branchtrack.web.pages import node as pages
from tests.web import dom, seeds
from tests.web.conftest import Site


def pairs(page: dom.Element) -> dict[str, str]:
    """All the lists of names and values together."""
    return {
        one.one("dt").text: one.one("dd").text for found in page.all("dl") for one in found.children
    }


def test_it_says_what_changed_and_by_whom(site: Site) -> None:
    page = site.get(f"/nodes/{site.node('more-decay')}")
    assert page.one("h1").text == "lr 3e-4 → 1.5e-4"
    assert "policy plateau · “flat for 300 steps”" in page.one("main").text


def test_a_prefix_of_the_id_is_enough_and_an_unknown_one_is_refused(site: Site) -> None:
    node = site.node("cooler")
    assert site.get(f"/nodes/{node[:8]}").one("h1").text == "final"
    assert "no node" in site.get("/nodes/ffffffffffffffff", 404).one("h1").text


def test_the_value_that_the_optimizer_used_stands_beside_the_setting(site: Site) -> None:
    page = site.get(f"/nodes/{site.node('more-decay')}")
    assert "verified The update used lr 1.5e-4 at step 1,601, as requested." in page.text
    rows = {row["setting"].split()[0]: row for row in page.table("Settings in force")}
    assert rows["lr"]["value"] == "1.5e-4"
    assert rows["lr"]["parent"] == "3e-4"
    assert rows["lr"]["used at step 1,601"] == "1.5e-4"
    assert rows["lr"]["read back"] == "verified"
    assert rows["weight_decay"]["parent"] == "same"
    assert rows["lr_now"]["used at step 1,601"] == "1.35e-4"


def test_a_change_that_was_not_seen_is_called_ineffective(own: Site) -> None:
    main = own.lines["main"]
    main.commit("intervention", 41, {"lr": 1e-4}, effective=False)
    unread = own.get(f"/nodes/{own.node('main')}")
    assert "not read back yet" in unread.text
    main.settings["lr"] = 5e-3
    with own.database.transaction() as connection:
        main.read_back(connection, 42, verified=False)
    page = own.get(f"/nodes/{own.node('main')}")
    assert "ineffective The update used lr 5e-3 at step 42, not 1e-4." in page.text


def test_what_was_not_read_back_says_why(own: Site) -> None:
    def said() -> set[str]:
        page = own.get(f"/nodes/{own.node('main')}")
        return {row["read back"] for row in page.table("Settings in force")}

    main = own.lines["main"]
    assert said() == {"no change here"}
    main.commit("intervention", 41, {"lr": 1e-4}, effective=False)
    assert said() == {"not yet"}
    main.end("stopped")
    assert said() == {"no update after it"}
    page = own.get(f"/nodes/{own.node('main')}")
    assert "No update followed this node." in page.text and "back yet" not in page.text


def test_the_checkpoint_shows_what_is_stored_and_where(site: Site) -> None:
    node = site.lines["cooler"].head
    assert node is not None
    page = site.get(f"/nodes/{node.id}")
    found = pairs(page)
    assert found["state digest"] == node.state_digest
    assert found["tensors"] == "3"
    assert found["logical bytes"] == "16.5 kB"
    assert found["model"] == "2 tensors, 16.4 kB"
    files = page.table("Files")
    assert sum(int(row["tensors"]) for row in files) == 3
    assert {row["there"] for row in files} == {"yes"}
    assert str(site.config.home) not in page.text


def test_a_file_that_is_gone_is_said_to_be_missing(own: Site) -> None:
    for path in own.config.store.rglob("*.safetensors"):
        path.unlink()
    page = own.get(f"/nodes/{own.node('main')}")
    assert {row["there"] for row in page.table("Files")} == {"missing"}


def test_the_way_from_the_root_leads_through_the_changes(site: Site) -> None:
    crumbs = site.get(f"/nodes/{site.node('more-decay')}").by_role("navigation", "Ancestors")[0]
    said = [one.text for one in crumbs.all("li")]
    assert "root, step 0" in said[0]
    assert "lr 5e-3 → 1e-3, step 400" in said[1] and said[1].startswith("…")
    assert "cooler lr 1e-3 → 3e-4, step 400" in said[2]
    assert said[-1].endswith("this node")


def test_children_on_all_branches_are_listed(site: Site) -> None:
    page = site.get(f"/nodes/{site.node('more-decay')}")
    assert "The last node of its branch." in page.one("main").text
    links = [one["href"] for one in page.by_role("navigation", "Ancestors")[0].all("a")]
    fork_at = site.get(links[1])
    assert fork_at.heading("Children").text == "Children 3"
    assert {row["branch"] for row in fork_at.table("Children")} == {"main", "hot", "cooler"}


def test_resume_compare_and_the_command_are_offered(site: Site) -> None:
    node = site.node("more-decay")
    page = site.get(f"/nodes/{node}")
    assert page.by_role("link", "Resume as a new branch")[0]["href"] == f"/nodes/{node}/resume"
    without = page.by_role("link", "Resume without this change")[0]["href"]
    assert without == f"/nodes/{node}/resume?without_change=1"
    assert f"branchtrack resume {node[:8]} --set lr=1.5e-4 --name NEW-BRANCH" in page.text
    assert page.field("Compare more-decay with").all("option")[0]["value"] == "gpt2-docs/main"


def test_what_a_resume_restored_is_listed(site: Site) -> None:
    rows = site.get("/runs/gpt2-docs?branch=cooler").table("Nodes")
    fork = next(row for row in rows if row["what changed"].startswith("fork"))
    found = pairs(site.get(f"/nodes/{fork['node']}"))
    assert found["weights"] == "restored"
    assert found["lr"] == "replaced"


def test_its_requests_and_audit_lines_are_shown(own: Site) -> None:
    main = own.lines["main"]
    node = main.commit("intervention", 41, {"lr": 1e-4}, "too hot", "anna")
    main.ask(
        {"kind": "set", "values": {"lr": 1e-4}}, "too hot", "applied", step=41, node_id=node.id
    )
    page = own.get(f"/nodes/{node.id}")
    assert page.table("Requests")[0]["what"] == "set lr = 1e-4"
    states = [row["state"] for row in page.table("Audit")]
    assert states == ["intervention", "received", "accepted", "applied"]


def test_a_root_has_no_parent_and_no_difference(site: Site) -> None:
    rows = site.get("/runs/gpt2-docs?branch=main").table("Nodes")
    page = site.get(f"/nodes/{rows[-1]['node']}")
    assert page.one("h1").text == "root"
    assert "Nothing was logged yet." in page.one("main").text


def test_a_run_without_settings_is_a_page_too(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "plain").line("main")
    line.settings = {}
    node = line.commit("root", 0)
    page = empty.get(f"/nodes/{node.id}")
    assert "This run declared no settings." in page.one("main").text


def certificate(page: dom.Element) -> dict[str, str]:
    """The rows of the certificate's panel."""
    rows = pairs(page)
    names = ("result", "trained again", "outside the tests", "with", "when")
    return {name: rows[name] for name in names if name in rows}


def test_a_certificate_says_from_where_to_where_and_with_what(site: Site) -> None:
    page = site.get(f"/nodes/{site.node('main')}")
    assert page.heading("Certificate of main")
    found = certificate(page)
    assert found["result"] == "certified exact"
    assert found["trained again"].startswith("600 updates, from")
    assert "at step 800 to" in found["trained again"] and "at step 1,400" in found["trained again"]
    assert "threads 2 device cpu torch 2.10.0" in found["with"]
    assert "outside the tests" not in found and "by anna" in found["when"]
    assert "branchtrack certify gpt2-docs/main" in page.text


def test_a_certificate_that_does_not_reach_this_node_says_so(site: Site) -> None:
    found = certificate(site.get(f"/nodes/{site.node('cooler')}"))
    assert found["result"] == "equal in this trial"
    assert found["outside the tests"] == "8 threads (tested: 1 and 2)"
    assert "The branch is now at step 2,000." in found["trained again"]
    assert "This node lies 800 steps after the certified stretch." in found["trained again"]
    rows = site.get("/runs/gpt2-docs?branch=cooler").table("Nodes")
    fork = certificate(site.get(f"/nodes/{rows[-1]['node']}"))
    assert "This node lies before the certified stretch." in fork["trained again"]


def test_the_first_tensor_that_differs_is_named(site: Site) -> None:
    found = certificate(site.get(f"/nodes/{site.node('hot')}"))
    assert found["result"].startswith("not exact the tensor model/transformer.wte.weight differs")
    assert "first at [17, 4], by up to 2.4e-07; so do 60 others" in found["result"]


def test_without_a_certificate_the_command_is_offered(site: Site) -> None:
    page = site.get(f"/nodes/{site.node('more-decay')}")
    assert "Its training has not been repeated and compared yet" in page.text
    assert certificate(page) == {}


def test_a_fork_that_took_the_weights_alone_shows_its_scripts_own_settings(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    side = main.grower.fork(main.head, "fresh", lr=1e-4)
    assert side.head is not None
    with own.database.transaction() as connection:
        used = {"step": 41, "verified": True, "lr": 1e-4, "weight_decay": 0.3, "lr_now": 1e-4}
        parts = {"weights": "restored", "optimizer": "reset", "lr": "replaced"}
        nodes.set_effective(connection, side.head.id, used, parts)
    page = own.get(f"/nodes/{side.head.id}")
    rows = {row["setting"].split()[0]: row for row in page.table("Settings in force")}
    assert rows["lr"]["read back"] == "verified"
    assert rows["weight_decay"]["value"] == "0.3"
    assert rows["weight_decay"]["read back"] == "the script’s own"
    assert "differs" not in page.text and pairs(page)["optimizer"] in ("reset", "1 tensor, 64 B")


def test_each_of_several_optimizers_has_its_measured_rate(own: Site) -> None:
    node = own.node("main")
    with own.database.transaction() as connection:
        used = {"step": 41, "encoder.lr_now": 1e-4, "head.lr_now": 3e-4, "grad_norm": 0.5}
        nodes.set_effective(connection, node, used)
    rows = {row["setting"].split()[0]: row for row in own.get(f"/nodes/{node}").table("Settings")}
    assert rows["encoder.lr_now"]["used at step 41"] == "1e-4"
    assert rows["head.lr_now"]["used at step 41"] == "3e-4"


def test_a_change_that_took_effect_before_its_node_says_where(own: Site) -> None:
    main = own.lines["main"]
    late = main.commit("intervention", 1395, {"lr": 1e-4}, since=1101)
    page = own.get(f"/nodes/{late.id}")
    rows = {row["setting"].split()[0]: row for row in page.table("Settings in force")}
    assert rows["lr"]["value"] == "1e-4 since step 1,101"
    assert "(since step 1,101)" in own.get("/runs/digits").text


def test_both_parents_of_a_merge_are_links_and_it_is_a_child_of_both(own: Site) -> None:
    main = own.lines["main"]
    first = main.head
    second = main.commit("checkpoint", 41)
    assert first is not None
    merge = commit_merge(own, second, first)
    page = own.get(f"/nodes/{merge.id}")
    head = page.one("main").one("h1")
    assert head.text == "merge"
    links = [link["href"] for link in page.one("main").all("a") if link["href"]]
    for parent in (first, second):
        assert f"/nodes/{parent.id}" in links
        children = own.get(f"/nodes/{parent.id}").table("Children")
        assert merge.id[:8] in {row["node"] for row in children}
    assert "weights and no other state" in page.text
    form = own.get(f"/nodes/{merge.id}/resume")
    options = form.one("select", id="mode").all("option")
    (mode,) = [option for option in options if "selected" in option.attributes]
    assert mode["value"] == "weights"
    row = own.get("/runs/digits").one("tr", id=f"n{merge.id}")
    assert first.id[:8] in row.text and second.id[:8] in row.text


def commit_merge(site: Site, a: Node, b: Node) -> Node:
    """A merge of two nodes on a branch of its own."""
    with site.database.transaction() as connection:
        branch = runs.create_branch(connection, a.run_id, "soup", a.id)
        segment = segments.create(connection, a.run_id, branch.id, a.id, a.step)
        values = {name: getattr(a, name) for name in NewNode.__dataclass_fields__}
        values |= {"branch_id": branch.id, "segment_id": segment.id, "parent_id": a.id}
        values |= {"kind": "merge", "merge_parent_id": b.id, "changes": ()}
        return nodes.commit(connection, NewNode(**values))


def test_the_nodes_before_and_after_are_links_with_what_they_changed(site: Site) -> None:
    with site.database.read() as connection:
        run = runs.find_run(connection, "gpt2-docs")
        line = [node for node in nodes.list_of_run(connection, run.id)][::-1]
    main = [node for node in line if node.branch_id == site.lines["main"].branch.id]
    around = site.get(f"/nodes/{main[1].id}").one("nav", aria_label="Around this node")
    links = [link["href"] for link in around.all("a") if link["href"].startswith("/nodes/")]
    assert links == [f"/nodes/{main[0].id}", f"/nodes/{main[2].id}"]
    assert around.text.startswith("previous") and "next" in around.text
    root = site.get(f"/nodes/{main[0].id}").one("nav", aria_label="Around this node")
    assert "previous" not in root.text and "next" in root.text


def test_a_branchs_name_and_what_follows_are_apart(site: Site) -> None:
    cooler = site.lines["cooler"]
    with site.database.read() as connection:
        listed = nodes.list_of_run(connection, cooler.grower.run.id)
    fork = next(node for node in reversed(listed) if node.branch_id == cooler.branch.id)
    around = site.get(f"/nodes/{fork.id}").one("nav", aria_label="Around this node")
    assert "main step 400" in around.text


def test_the_charts_around_a_node_are_those_of_its_branch_and_steps(site: Site) -> None:
    page = site.get(f"/nodes/{site.node('more-decay')}")
    address = page.one("div", id="charts")["data-url"]
    assert address == "/runs/gpt2-docs/chart?path=more-decay&at=1600&from=1424&to=1776"
    charts = site.client.get(address).get_json()["charts"]
    assert [line["name"] for line in charts[0]["lines"]] == ["cooler", "more-decay"]
    (link,) = page.by_role("link", "The same with more metrics")
    assert site.client.get(link["href"]).status_code == 200


def test_siblings_are_the_other_nodes_from_the_same_parent(site: Site) -> None:
    with site.database.read() as connection:
        run = runs.find_run(connection, "gpt2-docs")
        every = nodes.list_of_run(connection, run.id)
    for node in every:
        page = site.get(f"/nodes/{node.id}")
        siblings = {
            other.id[:8]
            for other in every
            if other.parent_id == node.parent_id and other.parent_id and other.id != node.id
        }
        listed = page.table("Siblings") if siblings else []
        assert {row["node"] for row in listed} == siblings
        assert bool(page.by_role("region", "Siblings")) == bool(siblings)


def test_of_a_long_way_from_the_root_the_two_ends_are_shown(own: Site) -> None:
    main = own.lines["main"]
    for number in range(20):
        main.commit("intervention", 41 + number, {"lr": 1e-3 * (number + 1)})
    crumbs = own.get(f"/nodes/{own.node('main')}").by_role("navigation", "Ancestors")[0]
    said = [one.text for one in crumbs.all("li")]
    assert len(said) == 13 and "root" in said[0] and "this node" in said[-1]
    assert [text.startswith("…") for text in said].count(True) == 2


def test_the_way_up_is_the_same_as_node_by_node(site: Site) -> None:
    def is_notable(node: tree_outline.NodeMark, of: Node) -> bool:
        changed = node.kind != "checkpoint" or node.changes or node.parent_id is None
        return node.id != of.id and bool(changed or node.id == of.parent_id)

    with site.database.read() as connection:
        run_id = site.lines["main"].grower.run.id
        for node in nodes.list_of_run(connection, run_id):
            above = tree_outline.ancestors(connection, node.id)
            expected = [mark.id for mark in above if is_notable(mark, node)][::-1]
            around = node_place.surroundings(connection, node)
            assert [summary.id for summary in around.line] == expected


def test_of_many_children_the_newest_are_listed(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("branchtrack.web.pages.node._LISTED", 2)
    main = own.lines["main"]
    assert main.head is not None
    for number in range(3):
        main.grower.order(main.head, f"fork-{number}")
    page = own.get(f"/nodes/{main.head.id}")
    assert [row["branch"] for row in page.table("Children")] == ["fork-1", "fork-2"]
    assert page.heading("Children").text == "Children 3" and "The newest 2;" in page.text


def test_a_page_does_not_wait_for_a_bucket(own: Site) -> None:
    with own.database.read() as connection:
        node = nodes.get(connection, own.node("main"))
        stored = nodes.checkpoint(connection, node.state_digest, need="record")

    def away(pack: str) -> bool:
        raise AssertionError("the bucket was asked")

    store: Any = SimpleNamespace(
        copies=object(), exists=away, describe=lambda pack: f"s3://b/packs/{pack[:2]}/{pack}.x"
    )
    assert all(row.present for row in pages._files(store, stored))
