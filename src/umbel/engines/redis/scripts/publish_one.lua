-- One message, the common case: key and number of the producer's batch, its TTL, list, message; and
-- where it may be given to who waits for it: P, what stands before a message of this list.
local A = ARGV
local last = redis.call('GET', A[1])
if last and tonumber(last) >= tonumber(A[2]) then return 0 end
redis.call('SET', A[1], A[2], 'EX', A[3])

-- A consumer that waits (cycle.lua) has the message leased to it, and is told of it, in this step:
-- it need not be woken to ask. Only one that has done nothing and was given nothing since, that is
-- still connected, and that nothing else waits for.
local function give(P, header)
  local list, raw = A[4], A[5]
  local waiting = redis.call('HGET', P .. 'umbel:waiting', list)
  if not waiting then return false end
  redis.call('HDEL', P .. 'umbel:waiting', list)
  local since, seen, consumer = string.match(waiting, '^(%d+) (%d+) (.*)$')
  local state_key = P .. 'umbel:c:' .. consumer
  local state = redis.call('GET', state_key)
  if not state then return false end
  local writer, seq, token, more = string.match(state, '^(%S+) (%d+) (%d+) (.*)$')
  if seq ~= since or token ~= seen or redis.call('EXISTS', list) == 1 then return false end
  local epoch = redis.call('GET', P .. 'umbel:revoked:epoch') or '0'
  local value = header .. raw
  token = string.format('%d', token + 1)
  local told = redis.call('PUBLISH', P .. 'umbel:h:' .. writer,
    seq .. ' ' .. token .. ' ' .. epoch .. ' ' .. value)
  if told == 0 then return false end
  redis.call('HSET', P .. 'umbel:i:' .. consumer, token, value)
  redis.call('SET', state_key, writer .. ' ' .. seq .. ' ' .. token .. ' ' .. more)
  return true
end

if A[6] and give(A[6], A[7]) then return 1 end
redis.call('LPUSH', A[4], A[5])
return 1
