"""What pages read quickly: summaries and pyramids of metrics; pins; saved views of lists."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ID = sa.String(16)
_METRIC = sa.String(500).with_variant(sa.String(200), "sqlite")
_PINNED = ("runs", "branches")

#: Of each series: the extremes of blocks and tail together, and its newest point.
_FILL = sa.text(
    """
    INSERT INTO metric_summaries
      (series_id, run_id, segment_id, name, minimum, maximum, last_step, last)
    SELECT s.id, g.run_id, s.segment_id, s.name, min(p.low), max(p.high), max(p.step), NULL
    FROM metric_series s
    JOIN segments g ON g.id = s.segment_id
    JOIN (
      SELECT series_id, minimum AS low, maximum AS high, last_step AS step FROM metric_blocks
      UNION ALL
      SELECT series_id, value, value, step FROM metric_points
    ) p ON p.series_id = s.id
    GROUP BY s.id, g.run_id, s.segment_id, s.name
    """
)
_LAST = sa.text(
    """
    UPDATE metric_summaries SET last = coalesce(
      (SELECT value FROM metric_points p
       WHERE p.series_id = metric_summaries.series_id AND p.step = metric_summaries.last_step),
      (SELECT last FROM metric_blocks b
       WHERE b.series_id = metric_summaries.series_id AND b.last_step = metric_summaries.last_step)
    )
    """
)


def upgrade() -> None:
    """Add the tables and columns, and the summaries of what there is.

    Blocks that there are have no pyramid: they are read whole until `db upgrade` has made one.
    """
    op.create_table(
        "metric_summaries",
        sa.Column("series_id", _SEQ, nullable=False, autoincrement=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("segment_id", _ID, nullable=False),
        sa.Column("name", _METRIC, nullable=False),
        sa.Column("minimum", sa.Double()),
        sa.Column("maximum", sa.Double()),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.Double()),
        sa.PrimaryKeyConstraint("series_id", name="pk_metric_summaries"),
    )
    op.create_index(
        "ix_metric_summaries_name",
        "metric_summaries",
        ["name", "run_id", "segment_id", "minimum", "maximum", "last_step", "last"],
    )
    op.create_table(
        "metric_pyramids",
        sa.Column("series_id", _SEQ, nullable=False, autoincrement=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("series_id", "first_step", name="pk_metric_pyramids"),
    )
    op.create_table(
        "saved_views",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_saved_views"),
    )
    for table in _PINNED:
        op.add_column(table, sa.Column("pinned_at", sa.Double()))
    op.execute(_FILL)
    op.execute(_LAST)


def downgrade() -> None:
    """Take them away again."""
    for table in _PINNED:
        with op.batch_alter_table(table) as batch:
            batch.drop_column("pinned_at")
    op.drop_table("saved_views")
    op.drop_table("metric_pyramids")
    op.drop_index("ix_metric_summaries_name", "metric_summaries")
    op.drop_table("metric_summaries")
