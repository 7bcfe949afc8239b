"""What a branch has cost so far."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.core.launchers import profiles
from branchtrack.db.engine import Database
from branchtrack.db.tables import launches, segments
from branchtrack.db.views.nearby import launch_outlook
from tests.trees_for_tests import make_forked_tree
from tests.web import seeds


def test_updates_seconds_and_bytes_of_a_branch_are_counted_from_where_it_began(
    database: Database, store: Store
) -> None:
    tree, line = make_forked_tree(database, store)
    with database.transaction() as connection:
        for name, step, last in (("main", 30, 1060.0), ("cooler", 25, 1030.0)):
            connection.execute(
                segments.update()
                .where(segments.c.id == tree.segment(name).id)
                .values(step=step, started_at=1000.0, heartbeat_at=last, max_steps=50)
            )
    with database.read() as connection:
        main = launch_outlook.read(connection, line[0])
        cooler = launch_outlook.read(connection, line[-1])
    assert (main.steps, main.seconds, main.max_steps, main.waiting) == (30, 60.0, 50, 0)
    assert main.stored_bytes > 0
    assert (cooler.steps, cooler.seconds) == (15, 30.0)


def test_a_branch_that_never_trained_has_cost_nothing(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    with database.transaction() as connection:
        connection.execute(segments.update().values(started_at=None))
    with database.read() as connection:
        outlook = launch_outlook.read(connection, line[0])
    assert (outlook.steps, outlook.seconds) == (0, 0.0)


def test_launches_that_wait_and_that_have_a_slot_are_counted_apart(
    sqlite_database: Database, store: Store
) -> None:
    grower = seeds.Grower(sqlite_database, store, "busy")
    root = grower.line("main", 100).commit("root", 0)
    grower.order(root, "waits")
    grower.fork(root, "trains")
    with sqlite_database.read() as connection:
        outlook = launch_outlook.read(connection, root)
    assert (outlook.waiting, outlook.training) == (1, 1)


def test_launches_of_clusters_are_in_no_queue_of_workers(
    sqlite_database: Database, store: Store
) -> None:
    grower = seeds.Grower(sqlite_database, store, "busy")
    root = grower.line("main", 100).commit("root", 0)
    far = [grower.order(root, name)[1] for name in ("waits", "trains")]
    with sqlite_database.transaction() as connection:
        launcher = profiles.launcher("gpu", "slurm", [])
        is_far = launches.c.id.in_([launch.id for launch in far])
        connection.execute(launches.update().where(is_far).values(launcher=launcher))
        is_second = launches.c.id == far[1].id
        connection.execute(launches.update().where(is_second).values(state="running"))
    with sqlite_database.read() as connection:
        outlook = launch_outlook.read(connection, root)
    assert (outlook.waiting, outlook.training) == (0, 0)
