-- Joins, on the keys of Celery's chords. g is the key of the group; JOIN_TTL, DONE_TTL, ORDERED
-- come from the caller.

local function is_complete(g)
  local size = redis.call('GET', g .. '.s')
  return size
    and redis.call('SCARD', g .. '.d') == tonumber(size) + tonumber(redis.call('GET', g .. '.t') or 0)
end

-- Gives a claim, "<queue length>:" queue value, where all parts were there before.
local function open_join(g, size)
  -- A frozen chord that is sent again reuses its group id, but is a new run.
  redis.call('DEL', g .. '.c')
  redis.call('SET', g .. '.s', size, 'EX', JOIN_TTL)
  local early = redis.call('GET', 'umbel:claim:' .. g)
  if early and is_complete(g) and redis.call('SET', g .. '.c', 'umbel', 'NX', 'EX', JOIN_TTL) then
    return early
  end
end

local function is_counted(g, task_id, position)
  return redis.call('SISMEMBER', g .. '.d', task_id .. ':' .. position) == 1
end

local function grow_join(g, by)
  redis.call('INCRBY', g .. '.t', by)
  redis.call('EXPIRE', g .. '.t', JOIN_TTL)
end

-- Counts a part once. Gives whether all are there, and whether the join is opened. Counted are the
-- members, not the parts: those of two members may be the same bytes. Each call from a script is most
-- of a microsecond, so there are few.
local function count_part(g, task_id, position, part)
  local claim, size, grown = unpack(redis.call('MGET', g .. '.c', g .. '.s', g .. '.t'))
  if claim == 'done' then return false, true end
  local is_new = redis.call('SADD', g .. '.d', task_id .. ':' .. position) == 1
  if is_new then
    local added
    if ORDERED == '1' then
      added = redis.pcall('ZADD', g .. '.j', position, part)
    else
      added = redis.pcall('RPUSH', g .. '.j', part)
    end
    if type(added) == 'table' and added.err then
      -- Somebody of the fleet has the other setting of result_chord_ordered.
      if ORDERED == '1' then
        redis.call('RPUSH', g .. '.j', part)
      else
        redis.call('ZADD', g .. '.j', position, part)
      end
    end
  end
  local counted = redis.call('SCARD', g .. '.d')
  -- With the first part, and now and then.
  if is_new and counted % 64 == 1 then
    for _, suffix in ipairs({'.j', '.t', '.s', '.d'}) do
      redis.call('EXPIRE', g .. suffix, JOIN_TTL)
    end
  end
  return size and counted == tonumber(size) + tonumber(grown or 0), size
end

local function split_claim(claim)
  local length, at = string.match(claim, '^(%d+):()')
  return string.sub(claim, at, at + length - 1), string.sub(claim, at + length)
end

local function close_join(g, failed)
  if failed == '1' then
    redis.call('DEL', g .. '.s', g .. '.t')
  else
    redis.call('DEL', g .. '.j', g .. '.t', g .. '.s', g .. '.d')
  end
  redis.call('DEL', 'umbel:claim:' .. g)
  redis.call('SET', g .. '.c', 'done', 'EX', DONE_TTL)
end
