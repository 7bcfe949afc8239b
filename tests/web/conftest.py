"""An application over a demonstration tree: one to look at, and one for each test to change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config, load
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.web.app import create_app
from tests.new_homes import copy_database, new_database
from tests.web import conformity, dom, seeds
from tests.web.compiled import compiled_once
from tests.web.seeds import Line


class Client(FlaskClient):
    """A client that reads each answer whole and closes it, as a server does.

    Every answer of the API has to be as its document says.
    """

    def open(self, *arguments: Any, buffered: bool = True, **options: Any) -> TestResponse:
        """As the parent's."""
        answer = super().open(*arguments, buffered=buffered, **options)
        if buffered:
            conformity.check(self.application, answer)
        return answer


def client_of(app: Flask) -> FlaskClient:
    """A fresh client of an application, without a browser's headers."""
    app.test_client_class = Client
    return app.test_client()


@dataclass
class Site:
    """An application, what it serves, and a client without a browser's headers."""

    app: Flask
    config: Config
    database: Database
    store: Store
    lines: dict[str, Line]

    @property
    def client(self) -> FlaskClient:
        """A fresh client on this machine."""
        return client_of(self.app)

    def get(self, path: str, status: int = 200) -> dom.Element:
        """A page that answers with ``status``, parsed."""
        answer = self.client.get(path)
        assert answer.status_code == status, answer.get_data(as_text=True)[:2000]
        return dom.parse(answer.get_data(as_text=True))

    def post(self, path: str, status: int, **form: str) -> dom.Element:
        """The page that a form of ours is answered with; ``set_lr`` is the field ``set.lr``."""
        data = {key.replace("set_", "set.", 1): value for key, value in form.items()}
        answer = self.client.post(path, data=data)
        assert answer.status_code == status, answer.get_data(as_text=True)[:2000]
        return dom.parse(answer.get_data(as_text=True))

    def node(self, branch: str) -> str:
        """The id of a branch's last node."""
        head = self.lines[branch].head
        assert head is not None
        return head.id


@pytest.fixture(autouse=True, scope="session")
def _compiled_once() -> Iterator[None]:
    with compiled_once():
        yield


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The demonstration tree, grown once."""
    config = load(tmp_path_factory.mktemp("grown") / "home")
    database, store = open_database(config, create=True), open_store(config.store)
    lines = seeds.demo(database, store)
    yield Site(create_app(config, database, store, token=None), config, database, store, lines)
    database.close()


@pytest.fixture
def site(grown: Site) -> Site:
    """The demonstration tree with its last branch alive; tests only look at it."""
    grown.lines["more-decay"].beat()
    return grown


@pytest.fixture
def empty(sqlite_config: Config, sqlite_database: Database, store: Store) -> Site:
    """An application without any run, for tests that write."""
    note = "Nobody works here; `branchtrack worker` would."
    app = create_app(sqlite_config, sqlite_database, store, token=None, worker_note=note)
    return Site(app, sqlite_config, sqlite_database, store, {})


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Config, dict[str, Line]]]:
    """A small tree, grown once, to be copied: a root and a checkpoint of ``main``, which trains."""
    config = load(tmp_path_factory.mktemp("small") / "home")
    database = new_database(config)
    main = seeds.Grower(database, open_store(config.store), "digits").line("main", 100)
    main.commit("root", 0)
    main.log("loss", *seeds.curve(0, 40, 2.3, 0.4, 20, 7))
    main.commit("checkpoint", 40, loss=0.5)
    database.close()
    yield config, {"main": main}


@pytest.fixture
def own(empty: Site, small: tuple[Config, dict[str, Line]]) -> Site:
    """A small tree of the test's own: ``main`` trains, its root and a checkpoint are committed."""
    copy_database(small[0], empty.config)
    shutil.copytree(small[0].store, empty.config.store, dirs_exist_ok=True)
    empty.lines.update(seeds.moved(small[1], empty.database, empty.store))
    empty.lines["main"].beat()
    return empty
