"""One node: what it is, what ran, whether it is whole, and pins."""

from __future__ import annotations

from tests.web.api.test_curves import ask
from tests.web.api.test_requests import post
from tests.web.conftest import Site


def test_a_node_has_the_promised_keys(site: Site) -> None:
    node = site.node("cooler")
    found = ask(site, f"nodes/{node[:8]}")
    assert found["id"] == node
    assert found.keys() >= {"settings", "effective", "restored", "environment", "checkpoint"}


def test_what_ran_is_told_of_a_node_if_it_was_recorded(site: Site) -> None:
    for branch in ("main", "cooler"):
        node = site.node(branch)
        whole, code = ask(site, f"nodes/{node}"), ask(site, f"nodes/{node}/code")
        assert (code["node"], code["run"], code["code"]) == (node, "gpt2-docs", whole["code"])


def test_a_node_is_verified_byte_by_byte(own: Site) -> None:
    node = own.node("main")
    verdict = post(own, f"/api/v1/nodes/{node}/verify", 200, None).get_json()
    assert verdict["whole"] and verdict["problem"] is None and verdict["step"] == 40
    for pack in own.config.store.rglob("*.safetensors"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:-1] + b"x")
    verdict = post(own, f"/api/v1/nodes/{node}/verify", 200, None).get_json()
    assert not verdict["whole"] and "cannot be restored" in verdict["problem"]
    post(own, "/api/v1/nodes/ffff/verify", 404, None)


def test_a_node_is_pinned_and_unpinned(own: Site) -> None:
    path = f"/api/v1/nodes/{own.node('main')}/pin"
    assert post(own, path, 200, None).get_json()["changed"]
    again = post(own, path, 200, None).get_json()
    assert (again["pinned"], again["changed"]) == (True, False)
    answer = own.client.delete(path)
    assert answer.status_code == 200 and not answer.get_json()["pinned"]
