-- The tables of one umbel file (user_version 3). Everything is in this file; only wake-ups and the
-- locks that show who lives are beside it, in the folder <file>-peers.
--
-- messages: every message that is not dead, in exactly one state:
--   0 ready   leased next, by (step, id) within its queue; a message that goes to the far end of
--             its queue gets a new id, one that comes back to the near end keeps its own
--   1 leased  owner and token say by whom; every effect of a lease is guarded by both
--   2 due     waits for its time
--   3 lane    lost with a process, judged, or the claim of a join: served before what is ready
-- "home" is the state (0 or 3) that a lease goes back to.
CREATE TABLE messages (
    id          INTEGER PRIMARY KEY,
    queue       TEXT    NOT NULL,
    step        INTEGER NOT NULL,            -- place of its priority among the steps; 0 first
    state       INTEGER NOT NULL,
    home        INTEGER NOT NULL DEFAULT 0,
    due         REAL,                        -- unix seconds; in state 2
    owner       INTEGER,                     -- consumers.id; in state 1
    token       INTEGER,                     -- in state 1; grows with each lease of a consumer
    deliveries  INTEGER NOT NULL DEFAULT 0,  -- runs that ended with the death of the process
    losses      INTEGER NOT NULL DEFAULT 0,  -- with a whole worker; then it is a suspect
    redelivered INTEGER NOT NULL DEFAULT 0,
    begun       INTEGER NOT NULL DEFAULT 0,  -- must not begin again
    verdict     BLOB,                        -- an outcome that somebody else decided
    tries       INTEGER NOT NULL DEFAULT 0,  -- processes that died with it after it was judged
    history     TEXT    NOT NULL DEFAULT '', -- its deaths: see model/history.py
    task_id     TEXT    NOT NULL,
    task        TEXT    NOT NULL,
    raw         BLOB    NOT NULL             -- the envelope
);
CREATE INDEX messages_ready ON messages (queue, step) WHERE state = 0;
CREATE INDEX messages_leased ON messages (owner, token) WHERE state = 1;
CREATE INDEX messages_due ON messages (due, queue) WHERE state = 2;
-- Judged ones, then those lost with their own process, then suspects, each in order of id.
CREATE INDEX messages_lane ON messages (queue, (verdict IS NULL), (losses > 0)) WHERE state = 3;

-- consumers: who may lease and settle. A row that is gone was given up.
CREATE TABLE consumers (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT NOT NULL UNIQUE,
    worker   TEXT NOT NULL,
    deadline REAL NOT NULL                   -- unix seconds
);

-- records: results. No rowid: a record is found, written and deleted by its task id alone, and ids
-- that begin with the time keep neighbours together.
CREATE TABLE records (
    task_id TEXT PRIMARY KEY,
    status  TEXT NOT NULL,
    expires REAL,                            -- unix seconds; NULL: kept for ever
    data    BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX records_expiring ON records (expires) WHERE expires IS NOT NULL;

-- saved_groups: what GroupResult.save keeps.
CREATE TABLE saved_groups (
    group_id TEXT PRIMARY KEY,
    expires  REAL,
    data     BLOB NOT NULL
);

-- joins: the count of a chord's members. state: 0 counting, 1 claimed, 2 closed. The claim is kept
-- here only while the size is not known yet.
CREATE TABLE joins (
    group_id   TEXT PRIMARY KEY,
    size       INTEGER,
    grown      INTEGER NOT NULL DEFAULT 0,
    counted    INTEGER NOT NULL DEFAULT 0,
    state      INTEGER NOT NULL DEFAULT 0,
    expires    REAL NOT NULL,
    claim      TEXT,                         -- id, task, queue, priority, tag as JSON; where the
                                             -- broker is elsewhere and claim_raw is NULL, the
                                             -- member that completed it
    claim_raw  BLOB
);
CREATE INDEX joins_expiring ON joins (expires);

-- parts: the results of a join's members, each once.
CREATE TABLE parts (
    group_id TEXT    NOT NULL,
    position INTEGER NOT NULL,               -- 2^62 where the member has none: sorts last
    task_id  TEXT    NOT NULL,
    data     BLOB    NOT NULL,
    PRIMARY KEY (group_id, position, task_id)
) WITHOUT ROWID;

-- dead: messages that will not run, with the cause and everything to send them again.
CREATE TABLE dead (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    died       REAL    NOT NULL,             -- unix seconds
    queue      TEXT    NOT NULL,
    step       INTEGER NOT NULL,
    task_id    TEXT    NOT NULL,
    task       TEXT    NOT NULL,
    deliveries INTEGER NOT NULL,
    cause      TEXT    NOT NULL,
    raw        BLOB    NOT NULL,
    history    TEXT    NOT NULL DEFAULT ''   -- of its deaths: see model/history.py
);

-- revocations: tasks that must not run. The highest id is the epoch; ids are never used again.
CREATE TABLE revocations (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id TEXT NOT NULL UNIQUE,
    expires REAL NOT NULL                    -- unix seconds
);
CREATE INDEX revocations_expiring ON revocations (expires);

-- bindings: how messages that are published to a named exchange reach queues.
CREATE TABLE bindings (
    exchange    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    queue       TEXT NOT NULL,
    PRIMARY KEY (exchange, kind, routing_key, queue)
) WITHOUT ROWID;

-- notices: what was said lately while somebody listened; read by those whose last id is lower. Ids
-- are never used again. Gone after a minute.
CREATE TABLE notices (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    said        REAL NOT NULL,               -- unix seconds
    exchange    TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    raw         BLOB NOT NULL                -- the envelope
);

-- boxes: callers that take answers; answers: what they have not taken yet.
CREATE TABLE boxes (
    exchange TEXT NOT NULL,
    box      TEXT NOT NULL,
    opened   REAL NOT NULL,                  -- unix seconds; the last time
    PRIMARY KEY (exchange, box)
) WITHOUT ROWID;
CREATE TABLE answers (
    id       INTEGER PRIMARY KEY,
    exchange TEXT NOT NULL,
    box      TEXT NOT NULL,
    raw      BLOB NOT NULL
);

-- sweeps: one row, the time of the last sweep of all workers.
CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at REAL NOT NULL
);
