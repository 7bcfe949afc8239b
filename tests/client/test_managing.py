"""Labels, pins, the trash and tokens, changed by a client."""

from __future__ import annotations

from branchtrack.client.client import Client
from branchtrack.db import tokens
from tests.client.conftest import BRANCH
from tests.web.conftest import Site


def test_a_run_is_managed(own: Site, client: Client) -> None:
    node = own.node("main")
    assert client.label(BRANCH, ["good"], notes="n").tags == ["good"]
    assert client.label("digits", archived=True).archived
    assert client.tag(node, ["best"]).tags == ["best"]
    assert client.pin(node).changed and not client.unpin(node).pinned
    assert client.verify(node).whole
    assert client.gc("digits", keep="thin", dry_run=True).dry_run
    own.lines["main"].end("finished")
    assert client.delete("digits", reason="old").nodes == 2
    (entry,) = client.trash()
    assert client.restore(entry.id).name == "digits"
    client.delete("digits")
    assert client.purge(entry.id).id == entry.id


def test_tokens_are_made_listed_and_revoked(client: Client) -> None:
    assert client.create_token("bot", "agent", only=["lr"]).secret.startswith(tokens.PREFIX)
    assert [token.name for token in client.tokens()] == ["bot"]
    assert client.revoke_token("bot").revoked_at is not None
