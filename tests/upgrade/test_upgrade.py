"""A home of each older schema is upgraded, and all of it works as if it were new.

``NNNN.json`` holds the rows of a database of that schema, and the packs that they name; such a file
is never changed.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import MetaData, text

from branchtrack import control
from branchtrack.checkpoints.location import open_store
from branchtrack.cli.main import cli
from branchtrack.config import Config, load
from branchtrack.core.records import Certificate
from branchtrack.db import audit, certificates, nodes, schema, segments
from branchtrack.db.engine import Database
from branchtrack.errors import DatabaseBehind
from tests.matrices import some
from tests.tree_copies import number_on

HOMES = sorted(Path(__file__).parent.glob("*.json"))


#: Homes by schema and kind of database. The first and the newest stand for others, on PostgreSQL
#: the oldest with requests: all are made and brought up by the same migrations.
CASES = some(
    [f"{path.stem}-{kind}" for path in HOMES for kind in ("sqlite", "postgres")],
    *(f"{path.stem}-sqlite" for path in (HOMES[0], HOMES[-1])),
    "0002-postgres",
)


@pytest.fixture(params=CASES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    """A home as the code of a schema left it, with a database of one kind."""
    number, kind = request.param.split("-")
    url = request.getfixturevalue("empty_postgres") if kind == "postgres" else None
    empty = load(tmp_path / "home", url)
    empty.make_home()
    told = json.loads((Path(__file__).parent / f"{number}.json").read_text())
    database = Database(empty.database_url)
    schema.upgrade(database, number)
    tables = MetaData()
    tables.reflect(database.engine)
    with database.transaction() as connection:
        for name, rows in told["rows"].items():
            if rows:
                connection.execute(tables.tables[name].insert(), [_decoded(row) for row in rows])
        if not database.is_sqlite:
            number_on(connection, tables.sorted_tables)
    database.close()
    for pack, content in told["packs"].items():
        path = Path(open_store(empty.store).describe(pack))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(content))
    return empty


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: base64.b64decode(value["base64"])
        if isinstance(value, dict) and value.keys() == {"base64"}
        else value
        for name, value in row.items()
    }


def has_requests(home: Config) -> bool:
    """Whether a home has requests and a certificate; that of the first schema has neither."""
    database = Database(home.database_url)
    with database.read() as connection:
        found = connection.execute(text("SELECT count(*) FROM requests")).scalar_one()
    database.close()
    return bool(found)


def call(home: Config, *arguments: str) -> Any:
    """The command line on a home: its exit code and what it printed, read as JSON."""
    given = ["--home", str(home.home), "--database-url", home.database_url, *arguments, "--json"]
    found = CliRunner().invoke(cli, given)
    return found.exit_code, json.loads(found.stdout)


def test_an_old_home_is_refused_until_it_is_upgraded(old: Config) -> None:
    with pytest.raises(DatabaseBehind):
        schema.open_database(old, create=True)
    code, told = call(old, "runs")
    assert code == 2 and told["error"]["type"] == "DatabaseBehind"
    code, told = call(old, "db", "upgrade")
    assert code == 0 and told["after"] == schema.HEAD and told["before"] < schema.HEAD
    assert call(old, "db", "upgrade") == (0, {"before": schema.HEAD, "after": schema.HEAD})


def test_a_home_in_which_something_trains_is_not_upgraded(old: Config) -> None:
    database = Database(old.database_url)
    beat = text("UPDATE segments SET ended_at = NULL, heartbeat_at = :at")
    with database.transaction() as connection:
        connection.execute(beat, {"at": time.time()})
    code, answer = call(old, "db", "upgrade")
    assert code == 2 and answer["error"]["type"] == "DatabaseInUse"
    assert "still training" in answer["error"]["what"]
    assert schema.revision(database) != schema.HEAD
    with database.transaction() as connection:
        connection.execute(beat, {"at": time.time() - 60})
    assert call(old, "db", "upgrade")[0] == 0
    database.close()


def test_all_of_it_is_there_and_whole(old: Config) -> None:
    call(old, "db", "upgrade")
    (run,) = call(old, "runs")[1]
    assert (run["name"], run["branches"], run["nodes"]) == ("demo", 2, 6)
    assert [one["whole"] for one in call(old, "verify", "--all")[1]] == [True] * 6
    assert len(call(old, "curve", "demo/cooler", "loss")[1]["steps"]) == 20
    tree = call(old, "tree", "demo")[1]
    words = [
        branch["certificate"] and branch["certificate"]["state"] for branch in tree["branches"]
    ]
    assert words == [None, "exact" if has_requests(old) else None]
    shown = call(old, "show", tree["nodes"][-1]["id"])[1]
    assert shown["settings"]["lr"] == 0.001 and shown["checkpoint"]["tensors"] == 1


def test_requests_are_told_as_new_ones_are(old: Config) -> None:
    call(old, "db", "upgrade")
    told = call(old, "requests", "demo")[1]
    states = ["expired", "rejected", "done", "verified"] if has_requests(old) else []
    assert [one["state"] for one in told] == states
    assert all((one["channel"], one["conditions"]) == ("shell", {}) for one in told)
    assert call(old, "audit", "demo", "--verify")[1]["holds"]
    assert len(call(old, "settings", "demo")[1]["settings"]) == 3


def test_new_things_can_be_written_into_it(old: Config) -> None:
    call(old, "db", "upgrade")
    database = schema.open_database(old)
    with database.read() as connection:
        made = [nodes.get(connection, node_id) for node_id in nodes.list_ids(connection)]
        assert segments.get(connection, made[0].segment_id).script is None
    target = made[2]
    with database.transaction() as connection:
        certificates.add(
            connection,
            Certificate(
                id="c" * 16,
                run_id=target.run_id,
                branch_id=target.branch_id,
                from_node_id=made[1].id,
                to_node_id=target.id,
                digest=target.state_digest,
                difference=None,
                untested=[],
                environment={},
                actor="ann",
                created_at=time.time(),
            ),
            target.step,
        )
    launch = control.create_launch(
        database, open_store(old.store), target.id, actor="ann", name="new"
    )
    with database.read() as connection:
        assert audit.first_broken_seq(connection, target.run_id) is None
    database.close()
    tree = call(old, "tree", "demo")[1]
    states = {
        one["name"]: one["certificate"] and one["certificate"]["state"] for one in tree["branches"]
    }
    cooler = "exact" if has_requests(old) else None
    assert states == {"main": "exact", "cooler": cooler, "new": None}
    assert launch.fork_node_id in {one["id"] for one in tree["nodes"]}


def test_every_schema_but_the_newest_has_a_home_here() -> None:
    known = [f"{number:04d}" for number in range(1, int(schema.HEAD))]
    assert [path.stem for path in HOMES] == known
