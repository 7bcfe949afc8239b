"""How often the threads of a training process work, and how long they and training wait."""

#: Seconds between two polls for requests, and between two attempts at what failed.
POLL_SECONDS = 0.1
#: Seconds between two polls on SQLite, where a check for changes needs no query.
SQLITE_POLL_SECONDS = 0.025
#: Seconds between two polls while the database tells at once what is new.
LISTENING_POLL_SECONDS = 2.0
#: Seconds after which metric points are written, unless there are many of them earlier.
FLUSH_SECONDS = 0.2
#: The same with a database server, which many trainings share.
SERVER_FLUSH_SECONDS = 0.5
#: Seconds between two heartbeats, each with a check that the store is there.
HEARTBEAT_SECONDS = 1.0
#: Seconds for which a training thread that needs a job done waits for a blocked database.
PATIENCE_SECONDS = 5.0
#: Seconds for which the end of training waits for what cannot be written at once.
END_SECONDS = 20.0
#: Seconds after which a paused loop looks whether it has to end.
PAUSE_SECONDS = 1.0
