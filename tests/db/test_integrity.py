"""Whatever is changed in a database behind branchtrack's back is found, and one at a time."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import connect
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import JSON, Connection, Table

from branchtrack import control
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config, load
from branchtrack.core.actors import Actor
from branchtrack.core.records import Certificate, Group
from branchtrack.db import certificates, integrity, nodes, refusals, runs, schema, tables, tokens
from branchtrack.db.engine import Database
from branchtrack.db.integrity import Problem
from branchtrack.db.orders import groups, launchers, ordering, trials
from branchtrack.db.storage import texts
from branchtrack.db.tables import metadata
from branchtrack.db.watching import agents, alerts
from branchtrack.errors import BranchtrackError
from tests.core.trials import made_up
from tests.db.watching.rows import add_agent, add_alert, add_exchange
from tests.matrices import some
from tests.trees_for_tests import make_forked_tree

DEEDS = [
    "UPDATE nodes SET state_digest = (SELECT max(digest) FROM checkpoints) WHERE step = 0",
    "UPDATE nodes SET settings = replace(settings, '0.01', '0.02') WHERE step = 10",
    "UPDATE nodes SET param_groups = '[{\"lr\":0.5}]' WHERE step = 10",
    "UPDATE nodes SET changes = '[]' WHERE kind = 'intervention'",
    "UPDATE nodes SET changes = '{' WHERE kind = 'intervention'",
    "UPDATE nodes SET metrics = '{\"loss\":0.1}' WHERE step = 10",
    "UPDATE nodes SET actor = 'somebody' WHERE step = 20",
    "UPDATE nodes SET message = 'another' WHERE kind = 'intervention'",
    "UPDATE nodes SET message = CAST(x'ff00' AS TEXT) WHERE kind = 'intervention'",
    "UPDATE nodes SET kind = 'checkpoint' WHERE kind = 'intervention'",
    "UPDATE nodes SET step = step + 1 WHERE kind = 'final'",
    "UPDATE nodes SET epoch = 0.5 WHERE kind = 'final'",
    "UPDATE nodes SET parent_id = (SELECT id FROM nodes WHERE step = 0) WHERE kind = 'final'",
    "UPDATE nodes SET created_at = created_at + 1 WHERE kind = 'final'",
    "UPDATE nodes SET environment = '{}' WHERE step = 20",
    "UPDATE nodes SET effective = '{\"lr\":0.5}' WHERE step = 20",
    "UPDATE nodes SET compared = '{\"verdict\":\"equal\"}' WHERE kind = 'fork'",
    "DELETE FROM nodes WHERE kind = 'final'",
    "UPDATE requests SET reason = 'another'",
    "UPDATE requests SET payload = '{}'",
    "UPDATE requests SET state = 'done'",
    "UPDATE requests SET actor = 'somebody'",
    "UPDATE requests SET applied = '{\"lr\":0.5}'",
    "DELETE FROM requests",
    "UPDATE events SET actor = 'somebody' WHERE seq = 3",
    "UPDATE events SET payload = '{' WHERE seq = 3",
    "UPDATE events SET payload = '{\"changes\":[]}' WHERE seq = 6",
    "UPDATE events SET reason = CAST(x'ff' AS TEXT) WHERE seq = 3",
    "DELETE FROM events WHERE seq = 3",
    "DELETE FROM events WHERE seq > 3",
    "DELETE FROM events",
    "UPDATE launches SET overrides = '{\"lr\":0.5}'",
    'UPDATE launches SET entry_point = \'{"argv":["rm"]}\'',
    "DELETE FROM launches",
    'UPDATE runs SET entry_point = \'{"argv":["rm"]}\'',
    "UPDATE runs SET name = 'another'",
    "UPDATE branches SET head_id = start_node_id WHERE name = 'cooler'",
    "UPDATE branches SET name = 'another' WHERE name = 'cooler'",
    "UPDATE segments SET settings = '{\"lr\":0.5}' WHERE step = 30",
    "UPDATE segments SET start_node_id = NULL",
    "UPDATE tokens SET role = 'admin'",
    "DELETE FROM tokens",
    "INSERT INTO tokens SELECT 'ffff', 'x', 'd', 'admin', only, \"limit\", created_by, 1, 1, NULL"
    " FROM tokens",
    "UPDATE certificates SET difference = NULL",
    "UPDATE certificates SET to_node_id = from_node_id",
    "DELETE FROM certificates",
    "UPDATE checkpoints SET manifest = x'00' WHERE digest = (SELECT min(digest) FROM checkpoints)",
    "UPDATE checkpoints SET logical_bytes = 1",
    "UPDATE packs SET nbytes = 1",
    'UPDATE tensors SET "offset" = 0',
    "UPDATE tensors SET pack = (SELECT max(id) FROM packs)",
    "DELETE FROM tensors",
    "INSERT INTO tensors SELECT 'f' || substr(digest, 2), pack, name || 'x', dtype, shape,"
    ' "offset", nbytes FROM tensors LIMIT 1',
    "UPDATE alerts SET text = 'another'",
    "DELETE FROM alerts",
    "UPDATE exchanges SET answer = 'another'",
    "DELETE FROM exchanges",
    "UPDATE agents SET mode = 'act'",
    'UPDATE refusals SET "count" = 1000',
    "DELETE FROM refusals",
    "UPDATE metric_points SET value = 0 WHERE step = 1100",
    "UPDATE metric_points SET seal = NULL WHERE step = 1100",
    "DELETE FROM metric_points WHERE step = 1100",
    "DELETE FROM metric_points WHERE step = (SELECT max(step) FROM metric_points)",
    "DELETE FROM metric_points",
    "INSERT INTO metric_points SELECT series_id, step + 1, value, time, seal FROM metric_points"
    " WHERE step = (SELECT max(step) FROM metric_points)",
    'UPDATE metric_blocks SET "values" = steps',
    "UPDATE metric_blocks SET maximum = 7",
    "DELETE FROM metric_blocks",
    "UPDATE metric_series SET name = 'another' WHERE name = 'loss'",
    "DELETE FROM seals WHERE \"table\" = 'nodes'",
    "UPDATE seals SET seal = '0123456789abcdef' WHERE \"table\" = 'segments'",
]
OTHER_TABLES = ["ALTER TABLE nodes ADD COLUMN more TEXT", "DROP INDEX ix_nodes_parent_id"]
#: What may be changed unnoticed, by table: the chain covers what a payload means, not its blanks.
UNNOTICED = {"events": {"payload"}}
#: Who works at present is no record.
#: What a record does not consist of.
_OTHER = {"workers", "metric_summaries", "metric_pyramids", "saved_views"}
RECORD = [table for table in metadata.sorted_tables if table.name not in _OTHER]


def _rows_have_problems(connection: Connection) -> bool:
    with mock.patch.object(integrity, "_tables", lambda _: ()):
        return bool(integrity.of_database(connection))


@dataclass
class Home:
    """A home that a test may damage."""

    config: Config

    @property
    def path(self) -> Path:
        """Its database."""
        return self.config.home / "branchtrack.db"

    def edit(self, statement: str) -> None:
        """Change the database as one would who does not know branchtrack."""
        with closing(connect(self.path)) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            assert connection.execute(statement).rowcount
            connection.commit()

    def swap(self, table: str, column: str) -> None:
        """Exchange what two rows have in a column, if there are two that differ."""
        with closing(connect(self.path)) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            rows = connection.execute(f'SELECT rowid, "{column}" FROM "{table}"').fetchall()
            first, second = rows[0], next(row for row in rows if row[1] != rows[0][1])
            for row_id, value in ((first[0], -99), (second[0], first[1]), (-99, second[1])):
                where = column if row_id == -99 else "rowid"
                change = f'UPDATE "{table}" SET "{column}" = ? WHERE {where} = ?'
                connection.execute(change, (value, row_id))
            connection.commit()

    def problems(self, *, tables: bool = False) -> list[Problem]:
        """What `verify --all` finds; what it says of ``tables`` takes most of its time."""
        with ExitStack() as stack:
            if not tables:
                stack.enter_context(mock.patch.object(integrity, "_tables", lambda _: ()))
            return self._problems()

    def is_whole(self) -> bool:
        """Whether `problems` finds none; most are found without reading any state."""
        database = Database(self.config.database_url)
        try:
            with database.read() as connection:
                if _rows_have_problems(connection):
                    return False
        except BranchtrackError:
            return False
        finally:
            database.close()
        return not self.problems()

    def _problems(self) -> list[Problem]:
        database = Database(self.config.database_url)
        try:
            with database.read() as connection:
                problems = integrity.of_database(connection)
                ids = nodes.list_ids(connection)
            for node_id in ids:
                try:
                    with database.read() as connection:
                        node = nodes.get(connection, node_id)
                    control.verify_node(database, open_store(self.config.store), node)
                except (BranchtrackError, TypeError, LookupError, ValueError) as error:
                    problems.append(Problem("node", node_id, str(error)))
            return problems
        except BranchtrackError as error:
            return [Problem("database", "", str(error))]
        finally:
            database.close()


def _add_trial(connection: Connection, group: Group, subject: str) -> None:
    """A trial with a pair, of the change of a node."""
    facts = {"kind": "trial", "group_id": group.id, "subject": subject}
    tried = trials.create(
        connection, group.run_id, made_up.spec(), actor="ann", reason="why", **facts
    )
    pairs = made_up.pairs((2.0, 1.9))
    trials.save(connection, tried, pairs=pairs, verdicts=[None], error="no", actor="ann")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A home with something in every table."""
    config = load(tmp_path_factory.mktemp("whole") / "home")
    database = schema.open_database(config, create=True)
    tree, made = make_forked_tree(database, open_store(config.store))
    tree.points("main", "loss", range(31, 1200))
    control.submit(
        database,
        "demo",
        {"kind": "set", "values": {"lr": 0.5}},
        actor=Actor("ann", "operator"),
        reason="why",
    )
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        agent = add_agent(connection, branch.run_id)
        agents.beat(connection, agent.id, step=20, spent={"tokens": 10}, memory={"seen": 20})
        add_exchange(connection, agent, branch.id)
        alert = add_alert(connection, branch)
        alerts.mark_seen(connection, alert.id, "ann")
        refusals.count(connection, runs.find_branch(connection, "demo"), "ann", "Forbidden")
        tokens.create(connection, "agent", "agent", created_by="ann")
        launchers.add(connection, "gpu", "slurm", ["--partition=main"], "ann")
        group = groups.create(connection, tree.run.id, "rates", "values", actor="ann")
        groups.add_branch(connection, group, runs.find_branch(connection, "demo/cooler"))
        _add_trial(connection, group, made[2].id)
        texts.put(connection, "diff --git a/train.py b/train.py")
        nodes.set_effective(connection, made[2].id, {"lr": 0.02})
        nodes.set_compared(connection, made[4].id, {"verdict": "differs"})
        ordering.order(
            connection,
            made[1],
            branch_name="hot",
            overrides={"lr": 1.0},
            mode="exact",
            actor="ann",
            reason="why",
        )
        certificates.add(
            connection,
            Certificate(
                id="c" * 16,
                run_id=tree.run.id,
                branch_id=made[2].branch_id,
                from_node_id=made[1].id,
                to_node_id=made[2].id,
                digest=made[2].state_digest,
                difference={"name": "lr", "kind": "value", "a": 1, "b": 2},
                untested=[],
                environment={},
                actor="ann",
                created_at=1.0,
            ),
            20,
        )
    database.close()
    return config


@pytest.fixture
def home(whole: Config, tmp_path: Path) -> Iterator[Home]:
    """A copy of it."""
    shutil.copytree(whole.home, tmp_path / "home")
    yield Home(load(tmp_path / "home"))


def test_a_home_that_was_only_written_by_branchtrack_has_no_problem(home: Home) -> None:
    assert home.problems(tables=True) == []
    with closing(connect(home.path)) as connection:
        empty = {
            table.name
            for table in RECORD
            if not connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
        }
    assert empty == set()


def is_of_one_column(statement: str) -> bool:
    """Whether a statement only gives one column other values of its type, as each column gets."""
    return statement.startswith("UPDATE") and not any(
        word in statement for word in ("SELECT", "CAST", "NULL", "'{'", "'[]'", "'{}'", "= steps")
    )


@pytest.mark.parametrize(
    "statement", some(DEEDS, *(deed for deed in DEEDS if not is_of_one_column(deed)))
)
def test_an_edited_row_is_found(home: Home, statement: str) -> None:
    home.edit(statement)
    assert not home.is_whole()


@pytest.mark.parametrize("statement", OTHER_TABLES)
def test_another_table_is_found(home: Home, statement: str) -> None:
    with closing(connect(home.path)) as connection:
        connection.execute(statement)
    assert home.problems(tables=True)


def test_exchanged_numbers_of_events_are_found(home: Home) -> None:
    home.swap("events", "id")
    assert {problem.kind for problem in home.problems()} == {"event"}


def test_exchanged_numbers_of_an_earlier_version_are_found_by_their_order(home: Home) -> None:
    home.edit("DELETE FROM seals WHERE \"table\" = 'events'")
    home.swap("events", "id")
    assert {problem.kind for problem in home.problems()} == {"event"}


def test_events_of_an_earlier_version_may_lack_seals_of_their_numbers(home: Home) -> None:
    home.edit("DELETE FROM seals WHERE \"table\" = 'events' AND CAST(key AS INTEGER) < 5")
    assert home.problems() == []
    home.edit("DELETE FROM seals WHERE \"table\" = 'events' AND key = '7'")
    assert [problem.id for problem in home.problems()] == ["7"]


def other(value: Any, *, is_json: bool) -> Any:
    """Another value of the same type; of JSON one that means the same."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, int | float):
        return value + 1000.5 if isinstance(value, float) else value + 1000
    if value is None:
        return "1"
    return f"{value} " if is_json else ("0" if value[:1] != "0" else "1") + value[1:]


@pytest.mark.parametrize("table", RECORD, ids=lambda table: table.name)
def test_every_changed_column_is_found(home: Home, table: Table) -> None:
    name, unnoticed = f'"{table.name}"', set()
    with closing(connect(home.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        count = connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
        for column in table.c:
            query = f'SELECT rowid, "{column.name}" FROM {name} ORDER BY rowid LIMIT 1 OFFSET ?'
            row_id, before = connection.execute(query, [count // 2]).fetchone()
            change = f'UPDATE {name} SET "{column.name}" = ? WHERE rowid = ?'
            after = other(before, is_json=isinstance(column.type, JSON))
            connection.execute(change, [after, row_id])
            if home.is_whole():
                unnoticed.add(column.name)
            # A numeric key is the number of its row.
            is_number = len(table.primary_key) == 1 and column.primary_key and before == row_id
            connection.execute(change, [before, after if is_number else row_id])
    assert unnoticed == UNNOTICED.get(table.name, set())
    assert home.problems() == []


def test_a_damaged_row_is_one_problem_and_the_rest_is_judged(home: Home) -> None:
    home.edit("UPDATE nodes SET changes = '{' WHERE kind = 'intervention'")
    home.edit("UPDATE tokens SET role = 'admin'")
    kinds = sorted({problem.kind for problem in home.problems()})
    assert kinds == ["node", "token"]


def readable(path: Path) -> Any:
    """All that can be read from a database, or None where not all of it can be."""
    try:
        with closing(connect(path)) as connection:
            connection.text_factory = bytes
            names = [table.name for table in metadata.sorted_tables] + ["sqlite_sequence"]
            return [connection.execute(f"SELECT * FROM {name}").fetchall() for name in names]
    except Exception:
        return None


def test_a_byte_that_changes_what_can_be_read_is_found(home: Home) -> None:
    content, before = home.path.read_bytes(), readable(home.path)
    choose = random.Random(7)
    unseen = []
    for _ in range(25):
        place = choose.randrange(len(content))
        changed = bytearray(content)
        changed[place] ^= 1 << choose.randrange(8)
        home.path.write_bytes(changed)
        if readable(home.path) != before and home.is_whole():
            unseen.append(place)
    assert unseen == []


def test_both_kinds_of_database_are_judged(database: Database, store: Store) -> None:
    tree, made = make_forked_tree(database, store)
    tree.points("main", "loss", range(31, 1200))
    with database.read() as connection:
        assert integrity.of_database(connection) == []
    with database.transaction() as connection:
        connection.execute(tables.nodes.update().where(tables.nodes.c.step == 30).values(actor="x"))
        connection.execute(tables.metric_points.delete())
        connection.execute(tables.metric_blocks.update().values(last=7.0))
    with database.read() as connection:
        kinds = [problem.kind for problem in integrity.of_database(connection)]
        assert integrity.of_node(connection, made[3].id) is not None
    assert sorted(kinds) == ["block", "node", "node", "series", "series"]


def test_a_new_process_knows_all_tables_of_a_healthy_postgresql(
    postgres: str, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "branchtrack", "--home", str(tmp_path / "home")]
    told = subprocess.run(
        [*words, "--database-url", postgres, "verify", "--all"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
