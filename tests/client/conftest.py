"""Sites of the web's tests, and a client of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from branchtrack.client.client import Client
from branchtrack.client.connection import in_process
from tests.web.conftest import Site
from tests.web.conftest import _compiled_once as _compiled_once
from tests.web.conftest import empty as empty
from tests.web.conftest import own as own
from tests.web.conftest import small as small

URL = "http://127.0.0.1:8642"
BRANCH = "digits/main"


def connect(site: Site, token: str | None = None, app: Any = None) -> Client:
    return Client(URL, token, transport=in_process(app or site.app))


@pytest.fixture
def client(own: Site) -> Iterator[Client]:
    with connect(own) as connected:
        yield connected
