-- name: publish
-- Add a message at the far end of its queue, or to the due set.
INSERT INTO messages (queue, step, raw, due) VALUES (?, ?, ?, ?);

-- name: enlist
-- Make a consumer known; idempotent.
INSERT INTO consumers (name, worker, deadline) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET deadline = excluded.deadline;

-- name: is_enlisted
-- Whether a consumer may lease and settle.
SELECT 1 FROM consumers WHERE name = ?;

-- name: renew
-- Push a consumer's deadline.
UPDATE consumers SET deadline = ? WHERE name = ?;

-- name: forget_consumer
-- A consumer leaves or is given up.
DELETE FROM consumers WHERE name = ?;

-- name: finish_many
-- End leases that have nothing but a record; gives those that were held.
DELETE FROM messages WHERE owner = ? AND id IN (SELECT value FROM json_each(?)) RETURNING id;

-- name: finish
-- End one lease.
DELETE FROM messages WHERE id = ? AND owner = ?;

-- name: requeue
-- Put a leased message at the far end of its queue.
INSERT INTO messages (queue, step, raw, redelivered)
SELECT queue, step, raw, 1 FROM messages WHERE id = ? AND owner = ?;

-- name: park
-- Put a leased message into the due set.
UPDATE messages SET owner = NULL, due = ? WHERE id = ? AND owner = ?;

-- name: give_back
-- Put a leased message back to where it was, uncounted.
UPDATE messages SET owner = NULL, redelivered = 1 WHERE id = ? AND owner = ?;

-- name: mark_begun
-- A leased message begins and may not begin again.
UPDATE messages SET begun = 1 WHERE id = ? AND owner = ?;

-- name: bury
-- Keep a leased message as a dead letter.
INSERT INTO dead (queue, raw, cause, deliveries, at)
SELECT queue, raw, ?, deliveries, ? FROM messages WHERE id = ? AND owner = ?;

-- name: put_record
-- Store a record; a SUCCESS is final.
INSERT INTO records (task_id, status, data, expires) VALUES (?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE
SET status = excluded.status, data = excluded.data, expires = excluded.expires
WHERE records.status <> 'SUCCESS';

-- name: lease_ready
-- Claim the next ready messages of one queue, by priority.
UPDATE messages SET owner = ? WHERE id IN (
    SELECT id FROM messages
    WHERE owner IS NULL AND due IS NULL AND lane = 0 AND queue = ?
    ORDER BY step, id LIMIT ?
) RETURNING id, step, queue, raw, deliveries, redelivered, verdict;

-- name: lease_ready_of_step
-- Claim the next ready messages of one queue and priority.
UPDATE messages SET owner = ? WHERE id IN (
    SELECT id FROM messages
    WHERE owner IS NULL AND due IS NULL AND lane = 0 AND queue = ? AND step = ?
    ORDER BY id LIMIT ?
) RETURNING id, step, queue, raw, deliveries, redelivered, verdict;

-- name: lease_verdicts
-- Claim messages whose outcome is decided.
UPDATE messages SET owner = ? WHERE id IN (
    SELECT id FROM messages
    WHERE owner IS NULL AND lane = 1 AND queue = ? AND verdict IS NOT NULL
    ORDER BY id LIMIT ?
) RETURNING id, step, queue, raw, deliveries, redelivered, verdict;

-- name: lease_suspect
-- Claim one message that was lost with a process. One that was lost with two workers or more is
-- held only if this worker holds no other such one.
UPDATE messages SET owner = ?1 WHERE id = (
    SELECT id FROM messages AS suspect
    WHERE owner IS NULL AND lane = 1 AND queue = ?2 AND verdict IS NULL
      AND (losses < 2 OR NOT EXISTS (
        SELECT 1 FROM messages AS held, consumers
        WHERE held.owner = consumers.name AND consumers.worker = ?3 AND held.losses >= 2))
    ORDER BY id LIMIT 1
) RETURNING id, step, queue, raw, deliveries, redelivered, verdict;

-- name: lane_queues
-- Queues that have messages in the lane.
SELECT DISTINCT queue FROM messages WHERE owner IS NULL AND lane = 1;

-- name: lease_join
-- A completed join becomes a lease of who counted its last part.
INSERT INTO messages (queue, step, raw, owner) VALUES (?, ?, ?, ?);

-- name: open_join
-- Say how many parts complete a join.
INSERT INTO joins (group_id, size, touched) VALUES (?, ?, ?)
ON CONFLICT (group_id) DO UPDATE SET size = excluded.size, touched = excluded.touched
WHERE joins.state = 0;

-- name: grow_join
-- A member added others.
INSERT INTO joins (group_id, grown, touched) VALUES (?, ?, ?)
ON CONFLICT (group_id) DO UPDATE
SET grown = joins.grown + excluded.grown, touched = excluded.touched;

-- name: touch_join
-- Make sure that a join has a row.
INSERT INTO joins (group_id, touched) VALUES (?, ?)
ON CONFLICT (group_id) DO UPDATE SET touched = excluded.touched;

-- name: join_state
-- Where a join stands.
SELECT state FROM joins WHERE group_id = ?;

-- name: add_part
-- Count a part, once.
INSERT INTO parts (group_id, position, task_id, part) VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: count_part
-- A new part has come.
UPDATE joins SET parts = parts + 1 WHERE group_id = ?;

-- name: claim_join
-- Claim a complete join; changes a row for the first claimer only.
UPDATE joins SET state = 1
WHERE group_id = ? AND state = 0 AND size IS NOT NULL AND parts >= size + grown;

-- name: is_join_complete
-- Whether a join is complete and not closed (for a broker elsewhere, which may claim again).
SELECT 1 FROM joins
WHERE group_id = ? AND state < 2 AND size IS NOT NULL AND parts >= size + grown;

-- name: close_join
-- Nobody is to claim it again.
UPDATE joins SET state = 2, touched = ? WHERE group_id = ?;

-- name: forget_parts
-- The parts of a closed join.
DELETE FROM parts WHERE group_id = ?;

-- name: parts
-- The parts of a join, in order.
SELECT part FROM parts WHERE group_id = ? ORDER BY position, task_id;

-- name: owned
-- What a consumer holds, oldest first.
SELECT id, deliveries, losses, begun FROM messages WHERE owner = ? ORDER BY id;

-- name: to_lane
-- Take a message from a consumer that is gone into the lane.
UPDATE messages
SET owner = NULL, lane = 1, redelivered = 1, deliveries = ?, losses = ?, verdict = ?
WHERE id = ? AND owner = ?;

-- name: give_back_all
-- Put everything of a consumer back, uncounted.
UPDATE messages SET owner = NULL, redelivered = 1 WHERE owner = ?;

-- name: all_consumers
-- Who is enlisted.
SELECT name, worker, deadline FROM consumers;

-- name: extend_all
-- Give every consumer a new lease.
UPDATE consumers SET deadline = ?;

-- name: next_due
-- When the next message is due.
SELECT min(due) FROM messages WHERE due IS NOT NULL;

-- name: fire_due
-- Put due messages at the far end of their queues, in order of their time.
INSERT INTO messages (queue, step, raw, deliveries, losses, redelivered)
SELECT queue, step, raw, deliveries, losses, redelivered FROM messages
WHERE due IS NOT NULL AND due <= ?1 ORDER BY due, id LIMIT ?2;

-- name: forget_fired
-- The due rows that were copied by fire_due.
DELETE FROM messages WHERE id IN (
    SELECT id FROM messages WHERE due IS NOT NULL AND due <= ?1 ORDER BY due, id LIMIT ?2);

-- name: get_fact
-- One number that is kept.
SELECT value FROM facts WHERE name = ?;

-- name: put_fact
-- Keep one number.
INSERT INTO facts (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: bind
-- A way into a queue.
INSERT INTO bindings (exchange, kind, queue, routing_key) VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: bindings
-- The ways from an exchange.
SELECT kind, queue, routing_key FROM bindings WHERE exchange = ?;

-- name: depth
-- How many messages of a queue are where.
SELECT
    coalesce(sum(owner IS NULL AND due IS NULL AND lane = 0), 0),
    coalesce(sum(due IS NOT NULL), 0),
    coalesce(sum(owner IS NOT NULL), 0),
    coalesce(sum(owner IS NULL AND lane = 1), 0)
FROM messages WHERE queue = ?;

-- name: peek
-- The next ready envelopes.
SELECT raw FROM messages
WHERE owner IS NULL AND due IS NULL AND lane = 0 AND queue = ? ORDER BY step, id LIMIT ?;

-- name: purge
-- Delete what is ready or due.
DELETE FROM messages WHERE queue = ? AND owner IS NULL AND lane = 0;

-- name: get_records
-- Records by id.
SELECT task_id, data FROM records WHERE task_id IN (SELECT value FROM json_each(?));

-- name: forget_records
-- Delete records.
DELETE FROM records WHERE task_id IN (SELECT value FROM json_each(?));

-- name: put_group
-- Keep a saved group.
INSERT INTO groups (group_id, data, expires) VALUES (?, ?, ?)
ON CONFLICT (group_id) DO UPDATE SET data = excluded.data, expires = excluded.expires;

-- name: get_group
-- A saved group.
SELECT data FROM groups WHERE group_id = ?;

-- name: forget_group
-- Delete a saved group.
DELETE FROM groups WHERE group_id = ?;

-- name: expire_records
-- Delete a few expired records.
DELETE FROM records WHERE task_id IN (
    SELECT task_id FROM records WHERE expires IS NOT NULL AND expires < ? LIMIT ?);

-- name: expire_groups
-- Delete a few expired groups.
DELETE FROM groups WHERE group_id IN (
    SELECT group_id FROM groups WHERE expires IS NOT NULL AND expires < ? LIMIT ?);

-- name: expire_joins
-- Delete a few joins that nothing has touched for long.
DELETE FROM joins WHERE group_id IN (
    SELECT group_id FROM joins WHERE state = 2 AND touched < ? LIMIT ?);
