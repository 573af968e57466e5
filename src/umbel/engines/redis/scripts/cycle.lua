-- needs: values, results, joins
-- Settles what has ended, then claims. One atomic step, fenced by the consumer's state key.
--
-- KEYS: for each queue verdicts, lane, suspects; the lists; the mark of the worker's suspect; the
-- set of due times. None where nothing is claimed. Everything else goes by ARGV, because on servers
-- before 7.2 the KEYS of a script are what its reads are tracked under (see broker.py: wait).
-- The first command is GETEX: it counts as a write that needs no memory, so all that follows is
-- allowed on a full server too; and it is not a read, so a busy claim tracks nothing.
-- Gives -1 not enlisted, -2 a later cycle was here already, or
-- {answers, token before the first of the lists, {token, value, ...}, epoch of revocations or '' where
-- nothing was leased, list index, {raw, ...}, ...}. In the place of {raw, ...} may stand the number of
-- the settlement whose one message was leased: who sent it has it.
-- A claim that finds nothing and is followed by a wait leaves its name in umbel:waiting, and the next
-- single message is leased to it (publish_one.lua). What it was given so, and perhaps never heard of,
-- comes with its next claim: all tokens above the last one that it has seen.

-- A cycle that runs ahead claims what its one settlement sends, and nothing else: who sent it runs
-- the successor already, under the next token.

local A, at = ARGV, 21
P = A[1]
local consumer, writer, seq, limit = A[2], A[3], tonumber(A[4]), tonumber(A[5])
local queues, lists, settlements = tonumber(A[6]), tonumber(A[7]), tonumber(A[8])
local again, broker_db, result_db, mark_key = A[9], A[10], A[11], A[12]
ORDERED, JOIN_TTL, DONE_TTL = A[13], A[14], A[15]
local followed_ttl = A[16]
local seen, waits, runs_ahead = tonumber(A[18]), A[19] == '1', A[20] == '1'

-- Claims of joins, a queue and a value each; the parts name theirs by its number. Those of one
-- batch that are of one join have one claim between them: 110 KB less in a batch of 64.
local first_claim = at
at = at + 2 * tonumber(A[17])

local mine = P .. 'umbel:i:' .. consumer
local state_key = P .. 'umbel:c:' .. consumer
local state = redis.call('GETEX', state_key)
if not state then return -1 end
local last_writer, last_seq, last, suspect, base, answered =
  string.match(state, '^(%S+) (%d+) (%d+) (%d+) (%d+) ([01]*)$')
last_seq, last, base = tonumber(last_seq), tonumber(last), tonumber(base)
-- GETEX, because a read would make a busy claim track its keys.
local function revoked_epoch() return redis.call('GETEX', P .. 'umbel:revoked:epoch') or '0' end
if last_writer == writer and seq <= last_seq then
  if seq < last_seq then return -2 end
  local held, given = held_by(consumer), {}
  for i = #held, 1, -1 do
    if tonumber(held[i].token) > base then
      given[#given + 1] = tonumber(held[i].token)
      given[#given + 1] = held[i].value
    end
  end
  return {answered, last, given, revoked_epoch()}
end

local there = result_db ~= broker_db
local function elsewhere(db) if there then redis.call('SELECT', db) end end

-- Settle ------------------------------------------------------------------------------------------

local answers, results, returned = {}, {}, {}

-- Reads "count, then count times width arguments"; gives where they begin and how many.
local function block(width)
  local count = tonumber(A[at])
  local from = at + 1
  at = from + count * width
  return from, count
end

local function bury(m, cause)
  local raw = m.raw
  local number = redis.call('INCR', P .. 'umbel:dead:number')
  local now = redis.call('TIME')
  local time = now[1] .. '.' .. string.format('%06d', now[2])
  redis.call('HSET', P .. 'umbel:dead:' .. number, 'raw', raw, 'cause', cause, 'queue', m.queue,
    'suffix', m.suffix, 'flags', string.match(m.flags, 'j') or '', 'deliveries', m.deliveries,
    'history', m.history,
    'time', time, 'id', string.match(raw, '"id"%s*:%s*"([^"\\]*)"') or '',
    'task', string.match(raw, '"task"%s*:%s*"([^"\\]*)"') or '')
  redis.call('ZADD', P .. 'umbel:dead', time, number)
end

local function push_runs(from, runs)
  for _ = 1, runs do
    from = push_run(A, from, function(error, list, first, last)
      -- The list's name is queue and suffix; so it is when it is pushed again.
      local queue = string.sub(list, #P + 1)
      for i = first, last do
        bury({raw = A[i], queue = queue, suffix = '', flags = '', deliveries = 0, history = ''},
        error.err)
      end
    end)
  end
end

local function park_until(m, token, due)
  local tag, now = tag_of(m.raw) or (consumer .. ' ' .. token), server_time()
  -- The child's clock is behind ours: not at once, or it would come and go without a pause.
  if tonumber(due) <= now then due = string.format('%.6f', now + 0.05) end
  park(m.queue, tag, due, join(m))
end

-- The one successor of a task that has ended need not pass through its list: if this claim would
-- come to it anyway, it is leased at once, and no other child is woken for it. A chain of 100 steps
-- takes 0.8 of the time so.
local held_back, list_index = {}, nil

local function hold(i, fate, run, runs)
  if fate ~= '0' or limit == 0 or runs ~= 1 or A[run + 1] ~= '-4' then return false end
  if not list_index then
    list_index = {}
    for i = 1, lists do list_index[KEYS[3 * queues + i]] = i end
  end
  if not list_index[A[run]] then return false end
  held_back[#held_back + 1] = {run = run, settlement = i}
  return true
end

-- The same message may lie in the queue twice: its follow-ups are sent by the first that ends.
local function may_follow(delivery, closes, close_count)
  if delivery ~= '' and not redis.call('SET', P .. 'umbel:d:' .. delivery, '1', 'NX', 'EX',
    followed_ttl) then return false end
  local open = true
  if close_count > 0 then
    elsewhere(result_db)
    for i = 0, close_count - 1 do
      if redis.call('GET', A[closes + 2 * i] .. '.c') == 'done' then open = false end
    end
    elsewhere(broker_db)
  end
  return open
end

-- "queue:tag" of a message that is ending, and the message where that is not known otherwise.
local function take(token, fate, delivery)
  if fate == '0' and delivery ~= '' then
    -- By far the most; and the 25 KB of a long chain are not read, copied and cut here.
    return redis.call('HDEL', mine, token) == 1 and delivery
  end
  local value = redis.call('HGET', mine, token)
  if not value then return false end
  local m = split(value)
  if fate == '5' then
    m.flags = 'b'
    redis.call('HSET', mine, token, join(m))
    return '', m
  end
  redis.call('HDEL', mine, token)
  local tag = fate == '0' and tag_of(m.raw)
  return tag and m.queue .. ':' .. tag or '', m
end

local function settle(i, token, fate, extra)
  local docs, doc_count = block(4)
  local opens, open_count = block(2)
  local grows, grow_count = block(2)
  local parts, part_count = block(5)
  local closes, close_count = block(2)
  local runs, message_runs = at + 1, tonumber(A[at])
  at = runs
  for _ = 1, message_runs do
    at = at + 2 + run_width(tonumber(A[at + 1]))
  end
  local delivery, m = take(token, fate, extra)
  if not delivery then return false end
  if fate == '1' then
    m.deliveries, m.losses, m.history, m.tries = 0, 0, '', 0
    if m.flags == 'r' then m.flags = '' end
    give_back(m, 'LPUSH')
  elseif fate == '2' then
    park_until(m, token, extra)
  elseif fate == '3' then
    bury(m, extra)
  elseif fate == '4' then
    returned[#returned + 1] = {token = tonumber(token), m = m}
  end
  if message_runs + open_count + grow_count + close_count > 0 then
    if fate == '0' and not may_follow(delivery, closes, close_count) then
      open_count, grow_count, close_count = 0, 0, 0
    elseif not hold(i, fate, runs, message_runs) then
      push_runs(runs, message_runs)
    end
  end
  for i = 0, doc_count - 1 do results[#results + 1] = {'store', docs + 4 * i} end
  for i = 0, open_count - 1 do results[#results + 1] = {'open', opens + 2 * i} end
  for i = 0, grow_count - 1 do
    results[#results + 1] = {'grow', grows + 2 * i, parts, part_count}
  end
  for i = 0, part_count - 1 do results[#results + 1] = {'count', parts + 5 * i} end
  for i = 0, close_count - 1 do results[#results + 1] = {'close', closes + 2 * i} end
  return true
end

for i = 1, settlements do
  local token, shape = A[at], A[at + 1]
  at = at + 2
  local held
  if shape == 'r' then -- done, with one record: by far the most
    held = redis.call('HDEL', mine, token) == 1
    if held and there then
      results[#results + 1] = {'store', at}
    elseif held then
      store(A[at], A[at + 1], A[at + 2], A[at + 3])
    end
    at = at + 4
  elseif shape == 'p' then -- done, with one record and one part of a join
    held = redis.call('HDEL', mine, token) == 1
    if held then
      results[#results + 1] = {'store', at}
      results[#results + 1] = {'count', at + 4}
    end
    at = at + 9
  elseif shape == 'x' then -- done, with nothing
    held = redis.call('HDEL', mine, token) == 1
  else
    local extra = A[at]
    at = at + 1
    held = settle(i, token, shape, extra)
  end
  answers[i] = held and '1' or '0'
  if held and token == suspect and shape ~= '5' then
    redis.call('DEL', mark_key)
    suspect = '0'
  end
end

table.sort(returned, function(a, b) return a.token > b.token end)
for _, back in ipairs(returned) do give_back(back.m, 'RPUSH') end

local claims = {}

-- Parts wait here for others of their join: its key, and where their members begin.
local counting, joins = {}, {}

local function count_them()
  for _, g in ipairs(joins) do
    local claim_at = first_claim + 2 * tonumber(A[counting[g][1] + 3])
    local function claim() return #A[claim_at] .. ':' .. A[claim_at] .. A[claim_at + 1] end
    local is_complete, is_open = count_parts(g, A, counting[g])
    if is_complete then
      if redis.call('SET', g .. '.c', 'umbel', 'NX', 'EX', JOIN_TTL) then
        claims[#claims + 1] = claim()
      end
    elseif not is_open then
      -- The join is opened when its header has been sent; that may be after its last part.
      redis.call('SET', 'umbel:claim:' .. g, claim(), 'EX', JOIN_TTL)
    end
  end
  counting, joins = {}, {}
end

local function carry_out(kind, from, parts, part_count)
  if kind == 'store' then
    store(A[from], A[from + 1], A[from + 2], A[from + 3])
    return
  elseif kind == 'count' then
    local g = A[from]
    if not counting[g] then
      counting[g] = {}
      joins[#joins + 1] = g
    end
    table.insert(counting[g], from + 1)
    return
  end
  -- What follows asks what has been counted.
  count_them()
  if kind == 'open' then
    local early = open_join(A[from], A[from + 1])
    if early then claims[#claims + 1] = early end
  elseif kind == 'grow' then
    for i = parts, parts + 5 * (part_count - 1), 5 do
      -- This member has been counted before, and so has what it added.
      if A[i] == A[from] and is_counted(A[i], A[i + 1], A[i + 2]) then return end
    end
    grow_join(A[from], A[from + 1])
  else
    close_join(A[from], A[from + 1])
  end
end

if #results > 0 then
  elsewhere(result_db)
  for _, result in ipairs(results) do carry_out(unpack(result)) end
  count_them()
  elsewhere(broker_db)
end

-- Claim -------------------------------------------------------------------------------------------

local first, given, left = last, {}, limit
if limit > 0 and seen and seen < last then
  for token = seen + 1, last do
    local value = redis.call('HGET', mine, token)
    if value then
      given[#given + 1] = token
      given[#given + 1] = value
    end
  end
  first, left = seen, limit - #given / 2
end
if runs_ahead then left = 0 end

local function lease(value)
  last, left = last + 1, left - 1
  redis.call('HSET', mine, last, value)
  given[#given + 1] = last
  given[#given + 1] = value
end

for q = 0, queues - 1 do
  local verdicts = left > 0 and redis.call('RPOP', KEYS[3 * q + 1], left)
  for _, value in ipairs(verdicts or {}) do lease(value) end
end
for _, claim in ipairs(claims) do
  local queue, value = split_claim(claim)
  if left > 0 then
    lease(value)
  else
    -- Whoever claims next takes it; this child is about to be busy, or to end.
    redis.call('LPUSH', P .. 'umbel:lane:' .. queue, value)
  end
end

-- With nothing else in this claim, before it or behind it.
local function lease_alone(key, value)
  local is_first = #given == 0
  if is_first then lease(value) else redis.call('RPUSH', key, value) end
  left = 0
  return is_first
end

for q = 0, queues - 1 do
  while left > 0 do
    local value = redis.call('RPOP', KEYS[3 * q + 2])
    if not value then break end
    if split(value).losses > 0 then
      lease_alone(KEYS[3 * q + 2], value)
    else
      lease(value)
    end
  end
end
for q = 0, queues - 1 do
  local value = left > 0 and redis.call('RPOP', KEYS[3 * q + 3])
  if value then
    local mark = redis.call('GET', mark_key)
    local whose, token = string.match(mark or '', '^(.*) (%d+)$')
    if whose and redis.call('HEXISTS', P .. 'umbel:i:' .. whose, token) == 1 then
      redis.call('RPUSH', KEYS[3 * q + 3], value)
    elseif lease_alone(KEYS[3 * q + 3], value) then
      suspect = tostring(last)
      redis.call('SET', mark_key, consumer .. ' ' .. last)
    end
  end
end

local reply = {table.concat(answers), last, given, ''}
for i = 1, lists do
  if left <= 0 then break end
  local raws = redis.pcall('RPOP', KEYS[3 * queues + i], left)
  -- Not a list, or nothing there.
  if raws and not raws.err then
    local head, fields = A[at + i - 1], {}
    for j = 1, #raws do
      last = last + 1
      fields[2 * j - 1] = last
      fields[2 * j] = head .. raws[j]
    end
    redis.call('HSET', mine, unpack(fields))
    left = left - #raws
    reply[#reply + 1] = i
    reply[#reply + 1] = raws
  end
end

for _, held in ipairs(held_back) do
  if left > 0 or runs_ahead then
    last, left = last + 1, left - 1
    -- The value as it came: a script sums up the bytes of each string that it makes, which are 25 KB
    -- in a long chain.
    redis.call('HSET', mine, last, A[held.run + 3])
    reply[#reply + 1] = list_index[A[held.run]]
    reply[#reply + 1] = held.settlement
  else
    push_runs(held.run, 1)
  end
end

if last > first then reply[4] = revoked_epoch() end
if settlements > 0 or last > first or again == '1' or waits then
  redis.call('SET', state_key, writer .. ' ' .. string.format('%d %d', seq, last) .. ' ' .. suspect
    .. ' ' .. string.format('%d', first) .. ' ' .. reply[1])
end
if limit > 0 and last == first then
  -- Nothing there: a read, so that the server tells this connection when that changes.
  redis.call('EXISTS', unpack(KEYS))
  if waits then
    local names = {}
    for i = 1, lists do
      names[2 * i - 1] = KEYS[3 * queues + i]
      names[2 * i] = string.format('%d %d %s', seq, last, consumer)
    end
    redis.call('HSET', P .. 'umbel:waiting', unpack(names))
  end
end
return reply
