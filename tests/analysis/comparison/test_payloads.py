"""Several lines side by side, as JSON."""

from __future__ import annotations

from sqlalchemy import select

from branchtrack.analysis.comparison import payloads, reading
from branchtrack.checkpoints.packs import Store
from branchtrack.db import tables
from branchtrack.db.engine import Database
from branchtrack.db.storage import texts
from tests.trees_for_tests import make_forked_tree
from tests.web import seeds


def test_all_differences_are_lists_in_the_order_of_the_sides(
    database: Database, store: Store
) -> None:
    tree, nodes = make_forked_tree(database, store)
    tree.branch("third", nodes[1])
    tree.node("third", 10, nodes[1], kind="fork", settings={"lr": 0.5})
    refs = ["demo/main", "demo/cooler", "demo/third"]
    with database.read() as connection:
        several = reading.read(connection, refs, base="demo/cooler")
        answer = payloads.side_by_side(connection, several)
    assert [side["ref"] for side in answer["sides"]] == refs
    assert (answer["base"], answer["common_step"]) == ("demo/cooler", 10)
    (lr,) = [row for row in answer["settings"] if row["name"] == "lr"]
    assert lr["values"][2] == 0.5 and len(lr["values"]) == 3
    assert answer["ranking"]["metric"] == "loss"
    lines = {line["ref"]: line for line in answer["ranking"]["lines"]}
    assert lines["demo/cooler"]["difference"] == 0.0
    assert lines["demo/main"]["difference"] == -100.0
    assert lines["demo/third"]["difference"] is None
    assert answer["data"] == []


def test_packages_that_differ_are_named(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    with database.transaction() as connection:
        for name, packages in (("main", "numpy==1\ntorch==2"), ("cooler", "numpy==2\ntorch==2")):
            code = {"commit": name, "packages": texts.put(connection, packages)}
            table = tables.segments
            changed = table.update().where(table.c.id == tree.segment(name).id)
            connection.execute(changed.values(code=code))
        several = reading.read(connection, ["demo/main", "demo/cooler"])
        rows = {
            row.name: row.values
            for row in payloads.surroundings(several, payloads.read_documents(connection, several))
            if row.differs
        }
    assert rows["package numpy"] == ("1", "2") and rows["commit"] == ("main", "cooler")
    assert "package torch" not in rows


def test_a_package_that_only_one_process_has_imported_makes_no_difference(
    database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(database, store)
    with database.transaction() as connection:
        installed = texts.put(connection, "alembic==1\nnumpy==1")
        for name, imported in (
            ("main", {"alembic": "1", "numpy": "1"}),
            ("cooler", {"numpy": "1"}),
        ):
            code = {"imported": imported, "packages": installed}
            table = tables.segments
            changed = table.update().where(table.c.id == tree.segment(name).id)
            connection.execute(changed.values(code=code))
        several = reading.read(connection, ["demo/main", "demo/cooler"])
        listed = payloads.surroundings(several, payloads.read_documents(connection, several))
    assert [row.name for row in listed if row.differs and row.name.startswith("package")] == []
    assert "package numpy" in [row.name for row in listed]


def test_the_shares_of_shards_are_compared(database: Database, store: Store) -> None:
    line = seeds.Grower(database, store, "digits").line("main")
    line.draw(100)
    assert line.head is not None
    with database.read() as connection:
        first = connection.execute(
            select(tables.nodes.c.id).order_by(tables.nodes.c.seq).limit(1)
        ).scalar_one()
        several = reading.read(connection, [first, line.head.id])
        shares = payloads.shares(several, payloads.read_documents(connection, several))
    assert len(shares) == 3
    for place in (0, 1):
        assert sum(row.values[place] or 0 for row in shares) == 1.0
    assert any(row.values[0] is None for row in shares)
