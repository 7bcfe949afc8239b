"""Orders of a client."""

from __future__ import annotations

import pytest

from branchtrack.client.client import Client
from branchtrack.errors import InvalidInput
from tests.client.conftest import BRANCH
from tests.web.conftest import Site


def test_orders_are_previewed_made_and_cancelled(own: Site, client: Client) -> None:
    node = own.node("main")
    preview = client.preview_resume(node, {"lr": [1e-3, 2e-3]})
    assert len(preview.branches) == 2
    (launch,) = client.resume(node, {"lr": 1e-3}, name="low", reason="try")
    assert [line.launch for line in client.launches().launches] == [launch.launch]
    assert client.launch(launch.launch).position == 1 and client.log(launch.launch) == ""
    assert client.cancel_launch(launch.launch).state == "cancelled"
    with pytest.raises(InvalidInput):
        client.continue_branch(BRANCH)
