"""Curves, and what differs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trees_for_tests import make_tree
from tests.web.conftest import Site


def ask(site: Site, path: str) -> Any:
    answer = site.client.get("/api/v1/" + path)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.json


def test_a_curve_is_raw_unless_points_are_asked_for(site: Site) -> None:
    whole = ask(site, "curve?branch=gpt2-docs/cooler&metric=loss")
    assert whole["steps"] == list(range(1, 2001))
    thin = ask(site, "curve?branch=gpt2-docs/cooler&metric=loss&points=100")
    assert 90 <= len(thin["steps"]) <= 102
    assert min(thin["values"]) == min(whole["values"])


def test_a_curve_is_cut_before_it_is_thinned(site: Site) -> None:
    part = ask(site, "curve?branch=gpt2-docs/cooler&metric=loss&from=100&to=149")
    assert part["steps"] == list(range(100, 150))
    assert part["points"] == 50
    thin = ask(site, "curve?branch=gpt2-docs/cooler&metric=loss&from=100&to=149&points=10")
    assert thin["steps"][0] == 100 and thin["steps"][-1] == 149
    assert max(thin["values"]) == max(part["values"])


def test_values_that_json_has_no_numbers_for_are_told_by_name(site: Site) -> None:
    found = ask(site, "curve?branch=gpt2-docs/hot&metric=loss&from=640&to=652")
    assert found["values"][1:12] == ["NaN"] * 11
    assert found["gaps"] == list(range(641, 652))


def test_a_comparison_holds_the_difference_and_both_curves(site: Site) -> None:
    found = ask(site, "compare?a=gpt2-docs/main&b=gpt2-docs/cooler&points=50")
    assert {one["name"] for one in found["settings"]} == {"lr", "max_grad_norm"}
    assert found["curves"]["b"]["branch"] == "cooler"
    assert found["common_ancestor"]


def test_curves_of_a_comparison_are_thinned_unless_all_points_are_asked_for(own: Site) -> None:
    tree = make_tree(own.database, own.store, "long")
    root = tree.node("main", 0)
    tree.branch("other", root)
    tree.node("other", 0, root, kind="fork")
    for name in ("main", "other"):
        tree.points(name, "loss", range(1, 3001))
    path = "compare?a=long/main&b=long/other"
    thin, whole = (ask(own, path + more)["curves"]["a"] for more in ("", "&points=all"))
    assert len(thin["steps"]) <= 1000 and len(whole["steps"]) == 3000
    assert thin["points"] == whole["points"] == 3000


@pytest.mark.parametrize(
    "query", ["points=3", "points=x", "points=1000000000", "from=9&to=3", "from=-1"]
)
def test_numbers_that_make_no_sense_are_refused(site: Site, query: str) -> None:
    answer = site.client.get(f"/api/v1/curve?branch=gpt2-docs/main&{query}")
    assert answer.status_code == 422


def test_a_metric_that_there_is_not_is_refused(site: Site) -> None:
    answer = site.client.get("/api/v1/curve?branch=gpt2-docs/main&metric=nope")
    assert answer.status_code == 404


def test_a_curve_since_a_cursor_has_only_what_is_new(own: Site) -> None:
    main = own.lines["main"]
    whole = ask(own, "curve?branch=digits")
    nothing = ask(own, f"curve?branch=digits&since={whole['next']}")
    assert (nothing["steps"], nothing["next"]) == ([], whole["next"])
    main.log("loss", [41, 42, 43], [3.0, 2.0, 1.0])
    new = ask(own, f"curve?branch=digits&since={whole['next']}")
    assert (new["steps"], new["reset"], new["points"]) == ([41, 42, 43], False, 3)
    assert whole["steps"] + new["steps"] == ask(own, "curve?branch=digits")["steps"]
    beyond = new["next"].replace(":43", ":172040")
    assert ask(own, f"curve?branch=digits&since={beyond}")["reset"]


def test_a_curve_whose_points_were_cut_away_is_sent_whole_again(own: Site) -> None:
    tree = make_tree(own.database, own.store, "long")
    root = tree.node("main", 0)
    tree.points("main", "loss", range(1, 51))
    middle = tree.node("main", 30, root)
    tree.branch("other", middle)
    tree.node("other", 30, middle, kind="fork")
    early = ask(own, "curve?branch=long/main&to=20")["next"]
    late = ask(own, "curve?branch=long/main")["next"]
    # The other branch has the points of its parent up to step 30, and none after it.
    goes_on = ask(own, f"curve?branch=long/other&since={early}")
    assert (goes_on["steps"], goes_on["reset"]) == (list(range(21, 31)), False)
    again = ask(own, f"curve?branch=long/other&since={late}")
    assert (again["steps"], again["reset"]) == (list(range(1, 31)), True)


@pytest.mark.parametrize("since", ["x", "abcd", "abcd:-1", ":5", "abcd:5:6"])
def test_a_cursor_that_there_is_not_is_refused(site: Site, since: str) -> None:
    answer = site.client.get(f"/api/v1/curve?branch=gpt2-docs/main&since={since}")
    assert answer.status_code == 422 and answer.get_json()["error"]["field"] == "since"


def test_nodes_and_branches_are_compared_as_in_the_shell(site: Site) -> None:
    branches = ask(site, "diff?a=gpt2-docs/main&b=gpt2-docs/cooler")
    whole = ask(site, "compare?a=gpt2-docs/main&b=gpt2-docs/cooler")
    assert branches == {key: whole[key] for key in branches}
    node = site.node("cooler")
    assert ask(site, f"diff?a={node}&b=gpt2-docs/main")["a"]["node"] == node
    answer = site.client.get("/api/v1/diff?a=gpt2-docs/main")
    assert answer.get_json()["error"]["field"] == "b"


def test_weights_are_compared_by_module(site: Site) -> None:
    weights = ask(site, "diff/weights?a=gpt2-docs/main&b=gpt2-docs/cooler")
    assert [row["name"] for row in weights["rows"]] == ["frozen", "head"]
    assert weights["rows"][0]["equal"] == 1 and weights["rows"][0]["distance"] == 0
    assert (
        weights["ancestor"]
        == ask(site, "diff?a=gpt2-docs/main&b=gpt2-docs/cooler")["common_ancestor"]
    )


def test_several_branches_are_compared_at_once(site: Site) -> None:
    path = "compare?a=gpt2-docs/main&b=gpt2-docs/cooler&points=50"
    assert ask(site, path)["side_by_side"] is None
    answer = ask(site, path + "&with=gpt2-docs/hot,gpt2-docs/more-decay&base=gpt2-docs/hot")
    several = answer["side_by_side"]
    assert [side["branch"] for side in several["sides"]] == ["main", "cooler", "hot", "more-decay"]
    assert several["base"] == "gpt2-docs/hot" and several["common_step"] == 400
    assert several["ranking"]["lines"][0]["ref"] == "gpt2-docs/more-decay"
    assert answer["curves"].keys() == {"a", "b", "gpt2-docs/hot", "gpt2-docs/more-decay"}
    refused = site.client.get("/api/v1/" + path + "&with=gpt2-docs/main")
    assert refused.status_code == 422 and refused.get_json()["error"]["field"] == "with"
