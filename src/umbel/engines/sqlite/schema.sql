-- The whole of umbel in one file. Version 1 (kept in PRAGMA user_version).
--
-- A message is one row of `messages` in one of five places, told by its columns:
--   ready   owner NULL, due NULL, lane 0
--   due     owner NULL, due set
--   leased  owner set (the consumer's name); the lease's token is the row's id
--   lane    owner NULL, lane 1: it was lost with a process; with a verdict it is settled, not run
--   (dead letters are rows of `dead`)
-- Rows are served by id, so what is given back keeps its place; what goes to the far end, or
-- becomes due, gets a new id. Each partial index serves one question and holds only its rows.

CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    step INTEGER NOT NULL,              -- priority, rounded down to 0, 3, 6, 9; 0 is served first
    raw BLOB NOT NULL,                  -- the envelope
    due REAL,                           -- unix seconds
    owner TEXT,                         -- consumer
    lane INTEGER NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,  -- counted runs that ended with their process
    losses INTEGER NOT NULL DEFAULT 0,      -- how often it was lost with a whole worker
    redelivered INTEGER NOT NULL DEFAULT 0,
    begun INTEGER NOT NULL DEFAULT 0,       -- it may not begin again (acks_late=False)
    verdict BLOB
);
CREATE INDEX messages_ready ON messages (queue, step, id)
    WHERE owner IS NULL AND due IS NULL AND lane = 0;
CREATE INDEX messages_lane ON messages (queue, id) WHERE owner IS NULL AND lane = 1;
CREATE INDEX messages_owned ON messages (owner) WHERE owner IS NOT NULL;
CREATE INDEX messages_due ON messages (due) WHERE due IS NOT NULL;

CREATE TABLE consumers (
    name TEXT PRIMARY KEY,
    worker TEXT NOT NULL,               -- the name less its last two dotted parts
    deadline REAL NOT NULL              -- unix seconds; only where no lock tells who lives
) WITHOUT ROWID;

CREATE TABLE records (
    task_id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    data BLOB NOT NULL,
    expires REAL                        -- unix seconds; NULL: kept for ever
) WITHOUT ROWID;
CREATE INDEX records_expires ON records (expires) WHERE expires IS NOT NULL;

CREATE TABLE groups (
    group_id TEXT PRIMARY KEY,
    data BLOB NOT NULL,
    expires REAL
) WITHOUT ROWID;

-- A join is complete when it has `size` + `grown` parts. state: 0 counting, 1 claimed, 2 closed.
CREATE TABLE joins (
    group_id TEXT PRIMARY KEY,
    size INTEGER,                       -- NULL until it is opened
    grown INTEGER NOT NULL DEFAULT 0,
    parts INTEGER NOT NULL DEFAULT 0,
    state INTEGER NOT NULL DEFAULT 0,
    touched REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE parts (
    group_id TEXT NOT NULL,
    position INTEGER NOT NULL,          -- 9223372036854775807 where it has none
    task_id TEXT NOT NULL,
    part BLOB NOT NULL,
    PRIMARY KEY (group_id, position, task_id)
) WITHOUT ROWID;

CREATE TABLE dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    raw BLOB NOT NULL,
    cause TEXT NOT NULL,
    deliveries INTEGER NOT NULL,
    at REAL NOT NULL
);

-- Ways into a queue from a named exchange.
CREATE TABLE bindings (
    exchange TEXT NOT NULL,
    kind TEXT NOT NULL,
    queue TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    PRIMARY KEY (exchange, queue, routing_key)
) WITHOUT ROWID;

CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value REAL
) WITHOUT ROWID;
