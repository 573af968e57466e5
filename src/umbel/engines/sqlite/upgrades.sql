-- How a file of an older layout becomes one of the next. Each part is named after the layout that it
-- starts from; all that are needed run in one transaction. schema.sql says what the tables are.

-- name: from_1
CREATE TABLE notices (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    said        REAL NOT NULL,
    exchange    TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    raw         BLOB NOT NULL
);
CREATE TABLE boxes (
    exchange TEXT NOT NULL,
    box      TEXT NOT NULL,
    opened   REAL NOT NULL,
    PRIMARY KEY (exchange, box)
) WITHOUT ROWID;
CREATE TABLE answers (
    id       INTEGER PRIMARY KEY,
    exchange TEXT NOT NULL,
    box      TEXT NOT NULL,
    raw      BLOB NOT NULL
);

-- name: from_2
ALTER TABLE messages ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN history TEXT NOT NULL DEFAULT '';
ALTER TABLE dead ADD COLUMN history TEXT NOT NULL DEFAULT '';
