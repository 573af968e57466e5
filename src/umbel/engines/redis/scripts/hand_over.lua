-- needs: values
-- Puts what waits for a queue where only umbel looks into the lists that Celery reads too.
--
-- ARGV: P, queue, how many due messages at most. Gives {due, lost, verdicts left, joins left}; due
-- smaller than the most means that there is nothing more.
P = ARGV[1]
local queue, most = ARGV[2], tonumber(ARGV[3])
-- The first write needs no memory, so that what follows is allowed on a full server. Without a sweep
-- in sight, what is sent from now on with an eta goes to the list.
redis.call('DEL', P .. 'umbel:swept')

-- False where the list's name is taken by something that is no list: then it stays where it is.
local function is_back(m, push)
  local done = redis.pcall(push, P .. m.queue .. m.suffix, m.raw)
  return not (type(done) == 'table' and done.err)
end

local lost, joins, verdicts = 0, 0, redis.call('LLEN', P .. 'umbel:verdicts:' .. queue)

-- From the end that is served last: so each keeps its place.
local function empty(key, push)
  local values = redis.call('LRANGE', key, 0, -1)
  redis.call('DEL', key)
  for _, value in ipairs(values) do
    local m = split(value)
    local is_join, has_begun = string.find(m.flags, 'j'), string.find(m.flags, 'b')
    if m.verdict ~= '' or is_join or has_begun or not is_back(m, push) then
      redis.call('RPUSH', key, value)
      if is_join then joins = joins + 1 else verdicts = verdicts + 1 end
    else
      lost = lost + 1
    end
  end
end

empty(P .. 'umbel:lane:' .. queue, 'RPUSH')
-- What was lost with two whole workers may be what ended them: behind all others.
empty(P .. 'umbel:suspects:' .. queue, 'LPUSH')

local due, parked = P .. 'umbel:due:' .. queue, P .. 'umbel:parked:' .. queue
local tags = redis.call('ZRANGE', due, 0, most - 1)
for _, tag in ipairs(tags) do
  local value = redis.call('HGET', parked, tag)
  redis.call('HDEL', parked, tag)
  redis.call('ZREM', due, tag)
  if value then
    local m = split(value)
    local is_ours = m.verdict ~= '' or string.find(m.flags, '[jb]')
    if is_ours or not is_back(m, 'LPUSH') then
      -- Whoever reads the lane settles it, or parks it again.
      redis.call('LPUSH', P .. 'umbel:lane:' .. queue, value)
      if string.find(m.flags, 'j') then joins = joins + 1 else verdicts = verdicts + 1 end
    end
  end
end
local next_one = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if next_one[2] then
  redis.call('ZADD', P .. 'umbel:due', next_one[2], queue)
else
  redis.call('ZREM', P .. 'umbel:due', queue)
end
return {#tags, lost, verdicts, joins}
