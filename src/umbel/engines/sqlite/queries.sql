-- Every statement, by name. Those of one step run in one transaction; see schema.sql for the states.

-- name: insert_message
-- A message arrives: ready, due, or (a claim of a join) in the lane.
INSERT INTO messages (queue, step, state, home, due, task_id, task, raw)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: bound_queues
-- The bindings of an exchange.
SELECT kind, routing_key, queue FROM bindings WHERE exchange = ?;

-- name: bind
-- Declared twice is declared once.
INSERT OR IGNORE INTO bindings (exchange, kind, routing_key, queue) VALUES (?, ?, ?, ?);

-- name: enlist
-- Enlisting again only renews: what is held stays held.
INSERT INTO consumers (name, worker, deadline) VALUES (:name, :worker, :deadline)
ON CONFLICT (name) DO UPDATE SET deadline = excluded.deadline;

-- name: consumer
-- The fence: whoever has no row here may neither lease nor settle.
SELECT id, worker FROM consumers WHERE name = ?;

-- name: renew
-- Only a consumer that is still enlisted; nobody is revived.
UPDATE consumers SET deadline = :deadline WHERE name = :name;

-- name: forget_consumer
-- Given up, recovered or retired.
DELETE FROM consumers WHERE id = ?;

-- name: has_work
-- Whether a lease of these queues would find anything: exact, so that a waiter does not spin.
SELECT
    EXISTS (
        SELECT 1 FROM messages
        WHERE state = 0 AND queue IN (SELECT value FROM json_each(:queues))
    )
    OR EXISTS (
        SELECT 1 FROM messages
        WHERE state = 3 AND queue IN (SELECT value FROM json_each(:queues))
            AND (
                verdict IS NOT NULL
                OR (
                    begun = 0
                    AND (losses < 2 OR NOT EXISTS (
                        SELECT 1 FROM messages AS running
                        JOIN consumers ON consumers.id = running.owner
                        WHERE running.state = 1 AND running.losses >= 2
                            AND running.verdict IS NULL AND consumers.worker = :worker
                    ))
                )
            )
    )
    OR EXISTS (SELECT 1 FROM messages WHERE state = 2 AND due <= :now);

-- name: has_lane
-- Whether anything is in the lane of any queue: almost never.
SELECT EXISTS (SELECT 1 FROM messages WHERE state = 3);

-- name: judged
-- Messages that only have to be settled, as somebody else decided.
SELECT id, queue, raw, deliveries, redelivered, verdict, tries, history FROM messages
WHERE state = 3 AND queue = :queue AND (verdict IS NULL) = 0
ORDER BY id LIMIT :limit;

-- name: lost
-- Messages that were lost with their own process, and claims of joins.
SELECT id, queue, raw, deliveries, redelivered, verdict, tries, history FROM messages
WHERE state = 3 AND queue = :queue AND (verdict IS NULL) = 1 AND (losses > 0) = 0 AND begun = 0
ORDER BY id LIMIT :limit;

-- name: suspect
-- One message that was lost with a whole worker; after two losses only where no other such message
-- runs in this worker.
SELECT id, queue, raw, deliveries, redelivered, verdict, tries, history FROM messages
WHERE state = 3 AND queue = :queue AND (verdict IS NULL) = 1 AND (losses > 0) = 1 AND begun = 0
    AND (losses < 2 OR NOT EXISTS (
        SELECT 1 FROM messages AS running
        JOIN consumers ON consumers.id = running.owner
        WHERE running.state = 1 AND running.losses >= 2
            AND running.verdict IS NULL AND consumers.worker = :worker
    ))
ORDER BY id LIMIT 1;

-- name: ready
-- The next messages of one queue and step. Queue by queue: IN (...) would sort the backlog. What
-- has a history is in the lane.
SELECT id, queue, raw, deliveries, redelivered FROM messages
WHERE state = 0 AND queue = ? AND step = ? ORDER BY id LIMIT ?;

-- name: lease
-- Rows found by the queries above, in the same transaction. Faster than UPDATE .. RETURNING, which
-- must number its rows (bench: 49,000 against 41,000 messages a second).
UPDATE messages SET state = 1, owner = ?, token = ? WHERE id = ?;

-- name: settle_done
-- The guard is the statement: no row, no effect.
DELETE FROM messages WHERE state = 1 AND owner = :owner AND token = :token;

-- name: settle_begun
-- It stays leased, and is marked.
UPDATE messages SET begun = 1 WHERE state = 1 AND owner = :owner AND token = :token;

-- name: settle_requeue
-- To the far end of its queue: the highest id.
UPDATE messages
SET id = (SELECT max(id) + 1 FROM messages), state = 0, home = 0,
    owner = NULL, token = NULL, redelivered = 1
WHERE state = 1 AND owner = :owner AND token = :token;

-- name: settle_park
-- Into the due set.
UPDATE messages SET state = 2, due = :due, owner = NULL, token = NULL
WHERE state = 1 AND owner = :owner AND token = :token;

-- name: settle_return
-- To where it was, as if it had not been leased.
UPDATE messages SET state = home, owner = NULL, token = NULL, begun = 0, redelivered = 1
WHERE state = 1 AND owner = :owner AND token = :token;

-- name: queue_of_lease
-- Whom to wake when it goes back.
SELECT queue FROM messages WHERE state = 1 AND owner = :owner AND token = :token;

-- name: queues_of_owner
-- Whom to wake when all that a consumer holds goes back.
SELECT queue, count(*) FROM messages WHERE state = 1 AND owner = ? GROUP BY queue;

-- name: bury
-- Before the message is deleted: to the dead letters.
INSERT INTO dead (died, queue, step, task_id, task, deliveries, cause, raw, history)
SELECT :now, queue, step, task_id, task, deliveries, :cause, raw, history FROM messages
WHERE state = 1 AND owner = :owner AND token = :token;

-- name: bury_unroutable
-- A follow-up whose exchange leads nowhere.
INSERT INTO dead (died, queue, step, task_id, task, deliveries, cause, raw)
VALUES (?, '', ?, ?, ?, 0, ?, ?);

-- name: release
-- What has not begun goes back to where it was; ids keep the order.
UPDATE messages SET state = home, owner = NULL, token = NULL, redelivered = 1
WHERE state = 1 AND owner = ? AND token = ? AND begun = 0;

-- name: held
-- What one lease is, to judge its loss.
SELECT id, deliveries, losses, begun, verdict, tries, history FROM messages
WHERE state = 1 AND owner = ? AND token = ?;

-- name: count_loss
-- It ran when its process died: into the lane, counted, perhaps judged.
UPDATE messages
SET state = 3, home = 3, owner = NULL, token = NULL, redelivered = 1,
    deliveries = ?, verdict = ?, tries = ?, history = ?
WHERE id = ?;

-- name: return_all
-- Everything that a consumer held and that had not begun.
UPDATE messages SET state = home, owner = NULL, token = NULL, redelivered = 1
WHERE state = 1 AND owner = ? AND begun = 0;

-- name: judge_begun
-- Everything that a consumer held and that must not begin again. Without a verdict (the consumer
-- retired) it waits for the next sweep, which has one.
UPDATE messages
SET state = 3, home = 3, owner = NULL, token = NULL, redelivered = 1,
    verdict = coalesce(verdict, :verdict)
WHERE state = 1 AND owner = :owner AND begun = 1;

-- name: judge_begun_late
-- What had begun when its consumer retired.
UPDATE messages SET verdict = ? WHERE state = 3 AND begun = 1 AND verdict IS NULL;

-- name: suspect_all
-- A worker is gone, and nobody saw what ran: everything it held is suspect. The first such loss is
-- not counted, because most of it only stood beside the culprit; from the second on each is, and the
-- first is remembered when the runs are added up.
UPDATE messages
SET state = 3, home = 3, owner = NULL, token = NULL, redelivered = 1,
    losses = losses + 1,
    deliveries = deliveries + (losses > 0),
    tries = tries + (verdict IS NOT NULL),
    history = substr(history || :death, -:most_bytes),
    verdict = coalesce(
        verdict,
        CASE WHEN begun THEN :begun END,
        CASE WHEN losses > 0 AND deliveries + 2 >= :max_deliveries THEN :poison END
    )
WHERE state = 1 AND owner = :owner;

-- name: consumers
-- Who is enlisted, oldest first.
SELECT id, name, worker, deadline FROM consumers ORDER BY id;

-- name: last_sweep
-- When any worker swept last.
SELECT at FROM sweeps;

-- name: note_sweep
-- The time of this sweep.
INSERT INTO sweeps (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at;

-- name: renew_all
-- After a late sweep: nobody could renew, or nobody looked.
UPDATE consumers SET deadline = ?;

-- name: has_due
-- Whether any message's time has come.
SELECT EXISTS (SELECT 1 FROM messages WHERE state = 2 AND due <= ?);

-- name: due
-- Messages whose time has come, in its order.
SELECT id, queue FROM messages WHERE state = 2 AND due <= ? ORDER BY due, id LIMIT ?;

-- name: last_id
-- The far end of every queue.
SELECT coalesce(max(id), 0) FROM messages;

-- name: fire
-- To the far end of its queue, or back into the lane.
UPDATE messages SET id = ?, state = home, due = NULL WHERE id = ?;

-- name: next_due
-- When the next message is due.
SELECT min(due) FROM messages WHERE state = 2;

-- name: depth
-- How many messages of a queue are where.
SELECT
    (SELECT count(*) FROM messages WHERE state = 0 AND queue = :queue),
    (SELECT count(*) FROM messages WHERE state = 2 AND queue = :queue),
    (SELECT count(*) FROM messages WHERE state = 1 AND queue = :queue),
    (SELECT count(*) FROM messages WHERE state = 3 AND queue = :queue);

-- name: peek
-- The next ready envelopes, in the order in which they are leased.
SELECT raw FROM messages WHERE state = 0 AND queue = ? ORDER BY step, id LIMIT ?;

-- name: held_by
-- What a consumer holds.
SELECT token, raw, deliveries, begun FROM messages WHERE state = 1 AND owner = ? ORDER BY token;

-- name: due_of_queue
-- What waits for its time.
SELECT due, raw FROM messages WHERE state = 2 AND queue = ? ORDER BY due, id LIMIT ?;

-- name: purge_ready
-- Ready messages of a queue.
DELETE FROM messages WHERE state = 0 AND queue = ?;

-- name: purge_due
-- Due messages of a queue.
DELETE FROM messages WHERE state = 2 AND queue = ?;

-- name: put_record
-- A SUCCESS is final.
INSERT INTO records (task_id, status, expires, data) VALUES (?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE
SET status = excluded.status, expires = excluded.expires, data = excluded.data
WHERE records.status <> 'SUCCESS';

-- name: records
-- Many records in one go; expired ones are gone although nobody has deleted them yet.
SELECT task_id, status, data FROM records
WHERE task_id IN (SELECT value FROM json_each(?)) AND (expires IS NULL OR expires > ?);

-- name: forget_record
-- Also a SUCCESS.
DELETE FROM records WHERE task_id = ?;

-- name: put_group
-- The last one saved is kept.
INSERT INTO saved_groups (group_id, expires, data) VALUES (?, ?, ?)
ON CONFLICT (group_id) DO UPDATE SET expires = excluded.expires, data = excluded.data;

-- name: saved_group
-- Unless it has expired.
SELECT data FROM saved_groups WHERE group_id = ? AND (expires IS NULL OR expires > ?);

-- name: forget_group
-- A saved group.
DELETE FROM saved_groups WHERE group_id = ?;

-- name: expire_records
-- A small batch, so that workers do not wait for it.
DELETE FROM records WHERE task_id IN (
    SELECT task_id FROM records WHERE expires IS NOT NULL AND expires <= ? LIMIT ?
);

-- name: expire_groups
-- Saved groups are few.
DELETE FROM saved_groups WHERE group_id IN (
    SELECT group_id FROM saved_groups WHERE expires <= ? LIMIT ?
);

-- name: expired_joins
-- Joins that nobody has touched for a month, or that are long closed.
SELECT group_id FROM joins WHERE expires <= ? LIMIT ?;

-- name: forget_join
-- Its parts are deleted apart.
DELETE FROM joins WHERE group_id = ?;

-- name: open_join
-- Opened twice is opened once; a closed join stays closed.
INSERT INTO joins (group_id, size, expires) VALUES (:group_id, :size, :expires)
ON CONFLICT (group_id) DO UPDATE
SET size = excluded.size, expires = max(expires, excluded.expires) WHERE state < 2;

-- name: grow_join
-- A growth may come before the opening.
INSERT INTO joins (group_id, grown, expires) VALUES (:group_id, :by, :expires)
ON CONFLICT (group_id) DO UPDATE SET grown = grown + :by WHERE state < 2;

-- name: join
-- How far a join is.
SELECT size, grown, counted, state FROM joins WHERE group_id = ?;

-- name: has_part
-- Whether a part was counted before.
SELECT 1 FROM parts WHERE group_id = ? AND position = ? AND task_id = ?;

-- name: insert_part
-- A part is known by (position, task_id): delivered twice, it counts once.
INSERT OR IGNORE INTO parts (group_id, position, task_id, data) VALUES (?, ?, ?, ?);

-- name: count_part
-- After a part was new.
INSERT INTO joins (group_id, counted, expires) VALUES (:group_id, 1, :expires)
ON CONFLICT (group_id) DO UPDATE
SET counted = counted + 1, expires = max(expires, excluded.expires)
RETURNING size, grown, counted, state;

-- name: keep_claim
-- The size is not known yet: whoever opens the join may find it complete.
UPDATE joins SET claim = ?, claim_raw = ? WHERE group_id = ? AND claim IS NULL;

-- name: kept_claim
-- What was kept.
SELECT claim, claim_raw FROM joins WHERE group_id = ? AND claim_raw IS NOT NULL;

-- name: claim_join_for
-- Where it may be claimed again: by the same member only.
UPDATE joins SET state = 1, claim = :member, claim_raw = NULL
WHERE group_id = :group_id AND state = 0;

-- name: claimer
-- The member that has claimed a join.
SELECT claim FROM joins WHERE group_id = ? AND claim_raw IS NULL;

-- name: claim_join
-- Once: the next one finds it claimed.
UPDATE joins SET state = 1 WHERE group_id = ? AND state = 0;

-- name: close_join
-- Nobody is to claim it again; remembered for a day, for members that are delivered again.
INSERT INTO joins (group_id, state, expires) VALUES (:group_id, 2, :expires)
ON CONFLICT (group_id) DO UPDATE
SET state = 2, expires = excluded.expires, claim = NULL, claim_raw = NULL;

-- name: parts
-- In order; those of one position by their text, as Celery sorts them.
SELECT data FROM parts WHERE group_id = ? ORDER BY position, data;

-- name: forget_parts
-- With the join.
DELETE FROM parts WHERE group_id = ?;

-- name: dead_letters
-- Dead letters that fit, the newest first. A parameter that is NULL asks for nothing.
SELECT id, died, queue, task_id, task, deliveries, cause, raw, history FROM dead
WHERE (:numbers IS NULL OR id IN (SELECT value FROM json_each(:numbers)))
    AND (:up_to IS NULL OR id <= :up_to)
    AND (:task_ids IS NULL OR task_id IN (SELECT value FROM json_each(:task_ids)))
    AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
    AND (:tasks IS NULL OR EXISTS (SELECT 1 FROM json_each(:tasks) WHERE task GLOB value))
    AND (:cause IS NULL OR instr(lower(cause), lower(:cause)) > 0)
    AND (:since IS NULL OR died >= :since)
    AND (:until IS NULL OR died <= :until)
ORDER BY id DESC LIMIT :limit;

-- name: dead_numbers
-- Their numbers, the oldest first: the same question.
SELECT id FROM dead
WHERE (:numbers IS NULL OR id IN (SELECT value FROM json_each(:numbers)))
    AND (:up_to IS NULL OR id <= :up_to)
    AND (:task_ids IS NULL OR task_id IN (SELECT value FROM json_each(:task_ids)))
    AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
    AND (:tasks IS NULL OR EXISTS (SELECT 1 FROM json_each(:tasks) WHERE task GLOB value))
    AND (:cause IS NULL OR instr(lower(cause), lower(:cause)) > 0)
    AND (:since IS NULL OR died >= :since)
    AND (:until IS NULL OR died <= :until)
ORDER BY id;

-- name: revive
-- A dead letter as a new message, in the lane if it is the claim of a join. One that never had a
-- queue has nowhere to go.
INSERT INTO messages (queue, step, state, home, task_id, task, raw)
SELECT queue, step, iif(task = 'umbel.join', 3, 0), iif(task = 'umbel.join', 3, 0),
    task_id, task, raw
FROM dead WHERE id = ? AND queue <> ''
RETURNING queue;

-- name: forget_dead
-- Sent again, or purged.
DELETE FROM dead WHERE id = ?;

-- name: revoke
-- Again: a new epoch, and remembered from now on.
INSERT OR REPLACE INTO revocations (task_id, expires) VALUES (?, ?);

-- name: leased_tasks
-- Those of some tasks that a consumer holds.
SELECT DISTINCT task_id FROM messages
WHERE state = 1 AND task_id IN (SELECT value FROM json_each(?));

-- name: revocation_epoch
-- One look at the end of an index, with each claim.
SELECT coalesce(max(id), 0) FROM revocations;

-- name: revoked
-- What was revoked after an epoch.
SELECT task_id FROM revocations WHERE id > ?;

-- name: forget_revoked
-- Those whose time is over.
DELETE FROM revocations WHERE expires <= ?;

-- name: say
-- One notice, for who listens.
INSERT INTO notices (said, exchange, routing_key, raw) VALUES (?, ?, ?, ?);

-- name: last_notice
-- Where a new listener begins.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'notices'), 0);

-- name: notices
-- What was said on an exchange since.
SELECT id, routing_key, raw FROM notices WHERE id > ? AND exchange = ? ORDER BY id LIMIT ?;

-- name: forget_notices
-- Old ones, a bounded number from the lower end.
DELETE FROM notices
WHERE id < (SELECT min(id) FROM notices) + 1000 AND said < ?;

-- name: open_box
-- Again: the day begins anew.
INSERT INTO boxes (exchange, box, opened) VALUES (?, ?, ?)
ON CONFLICT (exchange, box) DO UPDATE SET opened = excluded.opened;

-- name: close_box
-- Its answers are deleted apart.
DELETE FROM boxes WHERE exchange = ? AND box = ?;

-- name: answer
-- Only where the box is open.
INSERT INTO answers (exchange, box, raw)
SELECT exchange, box, :raw FROM boxes WHERE exchange = :exchange AND box = :box;

-- name: answers
-- In the order in which they came.
SELECT id, raw FROM answers WHERE exchange = ? AND box = ? ORDER BY id;

-- name: forget_answers
-- They were taken, or nobody is to.
DELETE FROM answers WHERE exchange = ? AND box = ?;

-- name: forget_boxes
-- Of callers that ended without closing them.
DELETE FROM boxes WHERE opened < ?;

-- name: forget_stray_answers
-- With their boxes.
DELETE FROM answers
WHERE NOT EXISTS (
    SELECT 1 FROM boxes WHERE boxes.exchange = answers.exchange AND boxes.box = answers.box
);
