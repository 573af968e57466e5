-- needs: values
-- Gives up consumers whose lease has passed, moves what is due, and forgets old revocations.
--
-- ARGV: P, lease, interval, most deliveries, verdict of poison, verdict of what had begun, how many
-- consumers and how many due messages at most, what is told of a loss.
-- Gives {consumers given up, messages moved, seconds to the next due time or '', '1' if there is
-- more to do now}.
P = ARGV[1]
local lease, interval, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local poison, begun = ARGV[5], ARGV[6]
local most_consumers, most_due = tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local stamp = string.format('%.6f', now)
local last = tonumber(redis.call('GETEX', P .. 'umbel:swept') or nil)
redis.call('SET', P .. 'umbel:swept', stamp)

-- A message that was lost with a whole worker: the first time it may have been a bystander.
local function lose(value, consumer)
  local m = split(value)
  add_death(m, consumer, ARGV[9])
  if m.verdict ~= '' then m.tries = m.tries + 1 end
  m.losses = m.losses + 1
  if m.losses > 1 then m.deliveries = m.deliveries + 1 end
  if m.flags == 'b' then
    if m.verdict == '' then m.verdict = begun end
    m.flags = ''
  elseif m.verdict == '' and m.losses > 1 and m.deliveries + 1 >= most then
    -- The first loss, which was not counted, was a run too: five in all.
    m.verdict = poison
  end
  give_back(m, 'LPUSH')
end

local given_up, moved, more = {}, 0, '0'
if not last or now - last > 2 * interval or last > now + 0.001 then
  -- Nobody has swept for a while: so perhaps nobody could renew either.
  for _, consumer in ipairs(redis.call('ZRANGE', P .. 'umbel:consumers', 0, -1)) do
    redis.call('ZADD', P .. 'umbel:consumers', now + lease, consumer)
  end
else
  given_up = redis.call('ZRANGEBYSCORE', P .. 'umbel:consumers', '-inf', '(' .. stamp, 'LIMIT', 0,
    most_consumers)
  if #given_up == most_consumers then more = '1' end
  for _, consumer in ipairs(given_up) do
    redis.call('DEL', P .. 'umbel:c:' .. consumer)
    local held = held_by(consumer)
    for i = #held, 1, -1 do
      lose(held[i].value, consumer)
      moved = moved + 1
    end
    redis.call('DEL', P .. 'umbel:i:' .. consumer)
    redis.call('ZREM', P .. 'umbel:consumers', consumer)
    unmark(consumer, P .. 'umbel:suspect:' .. string.gsub(consumer, '%.[^.]*%.[^.]*$', ''))
  end
end

local left = most_due
for _, queue in ipairs(redis.call('ZRANGEBYSCORE', P .. 'umbel:due', '-inf', stamp)) do
  local due, parked = P .. 'umbel:due:' .. queue, P .. 'umbel:parked:' .. queue
  local tags = left > 0 and redis.call('ZRANGEBYSCORE', due, '-inf', stamp, 'LIMIT', 0, left) or {}
  for i = #tags, 1, -1 do
    local value = redis.call('HGET', parked, tags[i])
    if value then
      give_back(split(value), 'RPUSH')
      redis.call('HDEL', parked, tags[i])
      moved = moved + 1
    end
    redis.call('ZREM', due, tags[i])
  end
  left = left - #tags
  local next_one = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if next_one[2] then
    redis.call('ZADD', P .. 'umbel:due', next_one[2], queue)
  else
    redis.call('ZREM', P .. 'umbel:due', queue)
  end
end
local forgotten = redis.call('ZRANGEBYSCORE', P .. 'umbel:revoked:until', '-inf', stamp, 'LIMIT', 0,
  most_due)
for i = 1, #forgotten, 1000 do
  local to = math.min(i + 999, #forgotten)
  redis.call('ZREM', P .. 'umbel:revoked:until', unpack(forgotten, i, to))
  redis.call('ZREM', P .. 'umbel:revoked', unpack(forgotten, i, to))
end
local next_due = redis.call('ZRANGE', P .. 'umbel:due', 0, 0, 'WITHSCORES')[2]
if left <= 0 then more = '1' end
return {given_up, moved, next_due and string.format('%.6f', tonumber(next_due) - now) or '', more}
