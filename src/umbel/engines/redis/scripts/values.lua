-- Values (see keys.py), and where they go when they are given back. Expects P, the prefix.

local function split(value)
  local d, l, flags, v, q, s, more, at =
    string.match(value, '^(%d+),(%d+),(%a*),(%d+),(%d+),(%d+)([%d,]*):()')
  local h, tries = 0, 0
  if more ~= '' then h, tries = string.match(more, '^,(%d+),(%d+)$') end
  local queue_end = at + q
  local suffix_end = queue_end + s
  local verdict_end = suffix_end + v
  local history_end = verdict_end + h
  return {
    deliveries = tonumber(d), losses = tonumber(l), flags = flags,
    queue = string.sub(value, at, queue_end - 1),
    suffix = string.sub(value, queue_end, suffix_end - 1),
    verdict = string.sub(value, suffix_end, verdict_end - 1),
    history = string.sub(value, verdict_end, history_end - 1), tries = tonumber(tries),
    raw = string.sub(value, history_end),
  }
end

local function join(m)
  local more = m.history ~= '' and (',' .. #m.history .. ',' .. m.tries) or ''
  return m.deliveries .. ',' .. m.losses .. ',' .. m.flags .. ',' .. #m.verdict .. ','
    .. #m.queue .. ',' .. #m.suffix .. more .. ':' .. m.queue .. m.suffix .. m.verdict .. m.history
    .. m.raw
end

-- One more line; only the last 2,000 bytes are kept.
local function add_death(m, consumer, how)
  local now = redis.call('TIME')
  local line = now[1] .. string.format('.%03d', math.floor(now[2] / 1000))
  m.history = string.sub(m.history .. line .. '\t' .. consumer .. '\t' .. how .. '\n', -2000)
end

-- push is RPUSH (served next) or LPUSH (served last).
local function give_back(m, push)
  if m.verdict ~= '' then
    redis.call(push, P .. 'umbel:verdicts:' .. m.queue, join(m))
  elseif m.losses > 1 then
    redis.call(push, P .. 'umbel:suspects:' .. m.queue, join(m))
  elseif m.losses > 0 or m.deliveries > 0 or m.flags ~= '' then
    redis.call(push, P .. 'umbel:lane:' .. m.queue, join(m))
  else
    local done = redis.pcall(push, P .. m.queue .. m.suffix, m.raw)
    if type(done) == 'table' and done.err then
      -- The name of the queue is taken by something that is no list. The lane is served all the
      -- same, and nothing is lost.
      redis.call(push, P .. 'umbel:lane:' .. m.queue, join(m))
    end
  end
end

-- The tokens and values of a consumer, newest first.
local function held_by(consumer)
  local flat = redis.call('HGETALL', P .. 'umbel:i:' .. consumer)
  local held = {}
  for i = 1, #flat, 2 do
    held[#held + 1] = {token = flat[i], value = flat[i + 1]}
  end
  table.sort(held, function(a, b) return tonumber(a.token) > tonumber(b.token) end)
  return held
end

-- The mark of a suspect is a hint for who waits for it; it counts only while its lease stands.
local function unmark(consumer, key)
  local mark = redis.call('GET', key)
  if mark and string.sub(mark, 1, #consumer + 1) == consumer .. ' ' then
    redis.call('DEL', key)
  end
end

local function park(queue, tag, due, value)
  redis.call('ZADD', P .. 'umbel:due:' .. queue, due, tag)
  redis.call('HSET', P .. 'umbel:parked:' .. queue, tag, value)
  redis.call('ZADD', P .. 'umbel:due', 'LT', due, queue)
end

local function server_time()
  local now = redis.call('TIME')
  return tonumber(now[1]) + tonumber(now[2]) / 1000000
end

-- Pushes runs, each "list, count, messages". Count -1 is one message that is not due yet: "list, -1,
-- due, tag, queue, header, message". It is parked where an umbel worker has swept within the last
-- minute and so will fetch it out again. Else it goes to the list, as Celery does it: whoever reads
-- it holds or parks it. Count -2 is one message for who listens: "channel, -2, message"; -3 one that
-- leads nowhere: "'', -3, message, why"; -4 one that may be leased at once: "list, -4, length of the
-- header, value". Gives where the next run is.
local WIDTHS = {[-1] = 5, [-2] = 1, [-3] = 2, [-4] = 2}

local function run_width(count) return WIDTHS[count] or count end

local function push_run(A, at, refused)
  local list, count = A[at], tonumber(A[at + 1])
  at = at + 2
  if count == -2 then
    redis.call('PUBLISH', list, A[at])
    return at + 1
  elseif count == -3 then
    refused({err = A[at + 1]}, list, at, at)
    return at + 2
  elseif count == -4 then
    A[at + 1] = string.sub(A[at + 1], A[at] + 1)
    at, count = at + 1, 1
  elseif count < 0 then
    local swept = redis.call('GET', P .. 'umbel:swept')
    if swept and tonumber(swept) > server_time() - 60 then
      park(A[at + 2], A[at + 1], A[at], A[at + 3] .. A[at + 4])
      return at + 5
    end
    at, count = at + 4, 1
  end
  for i = 0, count - 1, 1000 do
    local to = at + math.min(i + 1000, count) - 1
    local pushed = redis.pcall('LPUSH', list, unpack(A, at + i, to))
    if type(pushed) == 'table' and pushed.err then refused(pushed, list, at + i, to) end
  end
  return at + count
end

-- The last one counts: a sender's own header may have the same name. Found by plain search: a pattern
-- that walks to the end costs 150 us on the 25 KB of a chain of 100 steps.
local function tag_of(raw)
  local from, found = 1, nil
  while true do
    local _, to = string.find(raw, '"delivery_tag"', from, true)
    if not to then break end
    found, from = to + 1, to + 1
  end
  return found and string.match(raw, '^%s*:%s*"([^"\\]+)"', found)
end
