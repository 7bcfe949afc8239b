"""The tables, and nothing else. The actual schema is created by `migrations/`, not from here.

JSON columns hold NaN and infinity as `core.nonfinite` packs them. Times are seconds since 1970.
A row that came from another database keeps in ``logged_seq`` the ``seq`` that it had there: the
events say so.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from branchtrack.core.names import LONGEST_METRIC

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_ID = String(16)
_DIGEST = String(64)
#: The columns that `seals` writes.
_SEAL = String(16)
#: SQLite keeps texts of any length, and cannot alter their declared length.
_METRIC = String(LONGEST_METRIC).with_variant(String(200), "sqlite")
#: SQLite numbers rows by itself only in a column that is spelled INTEGER.
_SEQ = BigInteger().with_variant(Integer, "sqlite")

runs = Table(
    "runs",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("default_branch", String(80), nullable=False),
    Column("entry_point", JSON),
    Column("tags", JSON, nullable=False),
    Column("notes", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False, index=True),
    Column("command", _DIGEST, index=True),
    Column("archived_at", Double),
    Column("trashed_at", Double),
    Column("retention", JSON),
    Column("purged_at", Double),
    #: What its trainings are watched for, see `core.health.rules`; NULL for the defaults.
    Column("watch", JSON),
    Column("pinned_at", Double),
)

branches = Table(
    "branches",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False),
    Column("name", String(80), nullable=False),
    Column("position", Integer, nullable=False),
    Column("start_node_id", _ID),
    Column("head_id", _ID),
    Column("segment_id", _ID),
    Column("created_at", Double, nullable=False),
    Column("group_id", _ID, index=True),
    Column("archived_at", Double),
    Column("trashed_at", Double),
    Column("tags", JSON),
    Column("notes", Text),
    Column("pinned_at", Double),
    UniqueConstraint("run_id", "name"),
    UniqueConstraint("run_id", "position"),
)

groups = Table(
    "groups",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False),
    Column("name", String(80), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("actor", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("run_id", "name"),
)

segments = Table(
    "segments",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False, index=True),
    Column("branch_id", _ID, ForeignKey("branches.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("start_node_id", _ID),
    Column("status", String(16), nullable=False),
    Column("pid", Integer),
    Column("host", String(255)),
    Column("step", BigInteger, nullable=False),
    Column("max_steps", BigInteger),
    Column("rate", Double),
    Column("declared", JSON, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("script", JSON),
    Column("error", Text),
    Column("started_at", Double),
    Column("heartbeat_at", Double),
    Column("ended_at", Double),
    Column("offers", JSON, nullable=False),
    Column("process", String(255)),
    Column("saves", JSON),
    Column("environment", JSON),
    Column("code", JSON),
    UniqueConstraint("branch_id", "position"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False),
    Column("branch_id", _ID, ForeignKey("branches.id"), nullable=False, index=True),
    Column("segment_id", _ID, ForeignKey("segments.id"), nullable=False),
    Column("parent_id", _ID, ForeignKey("nodes.id"), index=True),
    Column("step", BigInteger, nullable=False),
    Column("epoch", Double, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("changes", JSON, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("param_groups", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("state_digest", _DIGEST, ForeignKey("checkpoints.digest"), nullable=False, index=True),
    Column("message", Text, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("environment", JSON, nullable=False),
    Column("restored", JSON),
    Column("effective", JSON),
    Column("created_at", Double, nullable=False),
    Column("proof", JSON),
    Column("compared", JSON),
    # No foreign key: SQLite adds none to a table that it has.
    Column("merge_parent_id", _ID),
    Column("pinned_at", Double),
    Column("tags", JSON),
    Column("logged_seq", BigInteger),
    Index(None, "run_id", "seq"),
    sqlite_autoincrement=True,
)

packs = Table(
    "packs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("nbytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
)

tensors = Table(
    "tensors",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("pack", String(64), ForeignKey("packs.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("dtype", String(16), nullable=False),
    Column("shape", JSON, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("nbytes", BigInteger, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("manifest", LargeBinary, nullable=False),
    Column("tensors", Integer, nullable=False),
    Column("logical_bytes", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    #: What is left of one that was thinned: `recipe` or `weights`; NULL if all of it is there.
    Column("thinned", String(16)),
)

#: Texts that many rows share, by their SHA-256: differences of code, lists of packages.
texts = Table(
    "texts",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
)

metric_series = Table(
    "metric_series",
    metadata,
    Column("id", _SEQ, primary_key=True, autoincrement=True),
    Column("segment_id", _ID, ForeignKey("segments.id"), nullable=False),
    Column("name", _METRIC, nullable=False),
    #: Points that are in blocks.
    Column("sealed", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("segment_id", "name"),
)

metric_points = Table(
    "metric_points",
    metadata,
    Column("series_id", _SEQ, ForeignKey("metric_series.id"), primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Double),
    Column("time", Double, nullable=False),
    Column("seal", _SEAL),
)

metric_blocks = Table(
    "metric_blocks",
    metadata,
    Column("series_id", _SEQ, ForeignKey("metric_series.id"), primary_key=True),
    Column("first_step", BigInteger, primary_key=True, autoincrement=False),
    Column("last_step", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("minimum", Double),
    Column("maximum", Double),
    Column("last", Double),
    Column("steps", LargeBinary, nullable=False),
    Column("values", LargeBinary, nullable=False),
    Column("times", LargeBinary, nullable=False),
    Column("seal", _SEAL),
)

requests = Table(
    "requests",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False, index=True),
    Column("branch_id", _ID, ForeignKey("branches.id"), nullable=False),
    Column("segment_id", _ID, ForeignKey("segments.id")),
    Column("kind", String(32), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("requested", JSON, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("error", Text),
    Column("before", JSON),
    Column("applied", JSON),
    Column("effective", JSON),
    Column("result", JSON),
    Column("step", BigInteger),
    Column("node_id", _ID, ForeignKey("nodes.id")),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("key", String(200)),
    Column("conditions", JSON, nullable=False),
    Column("asked_step", BigInteger),
    Column("run_steps", BigInteger),
    Column("token_id", _ID),
    Column("channel", String(16), nullable=False),
    Column("cancel", String(120)),
    Column("logged_seq", BigInteger),
    #: The agent that made it, and who decided on it if it was a proposal.
    Column("agent_id", _ID),
    Column("decided_by", String(120)),
    Index(None, "segment_id", "state"),
    Index("uq_requests_run_id_actor_key", "run_id", "actor", "key", unique=True),
    sqlite_autoincrement=True,
)

refusals = Table(
    "refusals",
    metadata,
    Column("run_id", _ID, ForeignKey("runs.id"), primary_key=True),
    # No foreign key: a branch that a launch created may be removed again.
    Column("branch_id", _ID, primary_key=True),
    Column("actor", String(120), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("digest", _DIGEST, nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("only", JSON),
    Column("limit", Integer),
    Column("created_by", String(120), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double),
    Column("revoked_at", Double),
)

launches = Table(
    "launches",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False, index=True),
    Column("node_id", _ID, ForeignKey("nodes.id"), nullable=False),
    # No foreign keys: what a launch created is removed again if its process refuses to train.
    Column("fork_node_id", _ID, nullable=False),
    Column("branch_id", _ID, nullable=False, index=True),
    Column("segment_id", _ID, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("overrides", JSON, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("worker", String(255)),
    Column("pid", Integer),
    Column("exit_code", Integer),
    Column("error", Text),
    Column("log", Text),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("strict", Boolean, nullable=False),
    Column("environment", JSON),
    Column("branch", String(80)),
    Column("entry_point", JSON),
    Column("kind", String(16)),
    Column("group_id", _ID, index=True),
    Column("priority", Integer),
    Column("labels", JSON),
    Column("retries", Integer),
    Column("retry_of", _ID),
    Column("device", String(120)),
    Column("cancel", String(120)),
    Column("logged_seq", BigInteger),
    #: What carries it out if no worker of this home does: `name kind options`, see
    #: `core.launchers`; its job there, and what the cluster last said of it.
    Column("launcher", JSON(none_as_null=True)),
    Column("job", String(64)),
    Column("job_state", String(32), index=True),
    Column("job_host", String(255)),
    Column("job_reason", Text),
    sqlite_autoincrement=True,
)

workers = Table(
    "workers",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("slots", Integer, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("devices", JSON, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("heartbeat_at", Double, nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False),
    Column("branch_id", _ID, ForeignKey("branches.id"), nullable=False, index=True),
    Column("from_node_id", _ID, ForeignKey("nodes.id"), nullable=False),
    Column("to_node_id", _ID, ForeignKey("nodes.id"), nullable=False),
    Column("digest", _DIGEST, nullable=False),
    Column("difference", JSON),
    Column("untested", JSON, nullable=False),
    Column("environment", JSON, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("created_at", Double, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False),
    # No foreign keys: what a launch created may be withdrawn, and a node purged.
    Column("branch_id", _ID, nullable=False, index=True),
    Column("segment_id", _ID),
    Column("node_id", _ID),
    Column("kind", String(16), nullable=False),
    Column("level", String(8), nullable=False),
    Column("text", Text, nullable=False),
    Column("step", BigInteger),
    Column("metric", _METRIC),
    Column("value", Double),
    #: What it proposes: `node`, `step`, `settings`, `name`.
    Column("offer", JSON),
    #: Two processes that notice the same thing write one row.
    Column("key", String(120), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("seen_at", Double),
    Column("seen_by", String(120)),
    Column("delivered_at", Double),
    Column("delivery", JSON),
    Column("logged_seq", BigInteger),
    UniqueConstraint("run_id", "key"),
    Index(None, "run_id", "seq"),
    sqlite_autoincrement=True,
)

agents = Table(
    "agents",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False),
    Column("name", String(80), nullable=False),
    Column("policy", String(16), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("branch", String(80)),
    Column("options", JSON, nullable=False),
    Column("budget", JSON, nullable=False),
    Column("spent", JSON, nullable=False),
    #: What it has to remember from one start of its process to the next.
    Column("memory", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("note", Text, nullable=False),
    Column("step", BigInteger),
    Column("actor", String(120), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("host", String(255)),
    Column("pid", Integer),
    Column("process", String(255)),
    #: Who wants it to end.
    Column("stop", String(120)),
    Column("created_at", Double, nullable=False),
    Column("heartbeat_at", Double),
    Column("ended_at", Double),
    UniqueConstraint("run_id", "name"),
)

exchanges = Table(
    "exchanges",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False),
    # No foreign keys: what a launch created may be withdrawn, and requests purged.
    Column("branch_id", _ID, nullable=False, index=True),
    Column("agent_id", _ID, nullable=False, index=True),
    Column("request_id", _ID),
    Column("launch_id", _ID),
    Column("step", BigInteger),
    Column("model", String(200), nullable=False),
    Column("prompt", JSON, nullable=False),
    Column("answer", Text, nullable=False),
    #: `answered` until it is settled: see `core.agents.records.Exchange`.
    Column("outcome", String(16), nullable=False),
    Column("error", Text),
    Column("tokens_in", BigInteger),
    Column("tokens_out", BigInteger),
    #: In US dollars, by the prices that the agent was given.
    Column("cost", Double),
    Column("seconds", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("logged_seq", BigInteger),
    Index(None, "run_id", "seq"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("id", _SEQ, primary_key=True, autoincrement=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("time", Double, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("ref", _ID, nullable=False),
    Column("state", String(16), nullable=False),
    Column("step", BigInteger),
    Column("payload", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("hash", _DIGEST, nullable=False),
    UniqueConstraint("run_id", "seq"),
    sqlite_autoincrement=True,
)

seals = Table(
    "seals",
    metadata,
    Column("table", String(32), primary_key=True),
    Column("key", _DIGEST, primary_key=True),
    Column("seal", _SEAL, nullable=False),
)
