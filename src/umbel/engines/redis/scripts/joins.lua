-- Joins, on the keys of Celery's chords. g is the key of the group; JOIN_TTL, DONE_TTL, ORDERED
-- come from the caller.

local function parts_of(g)
  if redis.call('TYPE', g .. '.j').ok == 'list' then return redis.call('LRANGE', g .. '.j', 0, -1) end
  return redis.call('ZRANGE', g .. '.j', 0, -1)
end

-- How many members have ended, where there are as many parts as are wanted and fewer are counted:
-- Celery 5.6 leaves a part and counts nobody. A part names its member where results are JSON.
local function members_with_uncounted(g)
  local known, number = {}, 0
  for _, member in ipairs(redis.call('SMEMBERS', g .. '.d')) do
    known[string.match(member, '^(.*):')], number = true, number + 1
  end
  local parts = parts_of(g)
  for _, part in ipairs(parts) do
    local id = string.match(part, '^%[1, ?"([^"]+)"')
    if not id then return #parts end
    if not known[id] then known[id], number = true, number + 1 end
  end
  return number
end

-- A member that comes again completes nothing that has uncounted ones: who ended after it has seen
-- all, and may be sending the body at this moment.
local function are_all(g, counted, wanted, is_new)
  if counted >= wanted or not is_new then return counted == wanted end
  local kept = redis.pcall('ZCARD', g .. '.j')
  if type(kept) == 'table' then kept = redis.call('LLEN', g .. '.j') end
  return kept >= wanted and members_with_uncounted(g) == wanted
end

local function is_complete(g)
  local size, grown = unpack(redis.call('MGET', g .. '.s', g .. '.t'))
  return size
    and are_all(g, redis.call('SCARD', g .. '.d'), tonumber(size) + tonumber(grown or 0), true)
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

-- Adds parts, "score, part, score, part ...", to a sorted set, or to a list, by a setting that not
-- all of a fleet may have.
local function keep_parts(g, scored)
  local parts = {}
  for i = 2, #scored, 2 do parts[#parts + 1] = scored[i] end
  local first, second = {'ZADD', scored}, {'RPUSH', parts}
  if ORDERED ~= '1' then first, second = second, first end
  local added = redis.pcall(first[1], g .. '.j', unpack(first[2]))
  if type(added) == 'table' and added.err then
    redis.call(second[1], g .. '.j', unpack(second[2]))
  end
end

-- Counts parts once each; of each "task id, position, part" begins at one of these places of A. Gives
-- whether all are there, and whether the join is opened. Counted are the members, not the parts:
-- those of two members may be the same bytes. Each call from a script is most of a microsecond, so
-- all parts of a batch that belong to one join are counted together.
local function count_parts(g, A, places)
  local claim, size, grown = unpack(redis.call('MGET', g .. '.c', g .. '.s', g .. '.t'))
  if claim == 'done' then return false, true end
  local names, scored, is_known = {}, {}, {}
  for n, i in ipairs(places) do names[n] = A[i] .. ':' .. A[i + 1] end
  local known = #names > 1 and redis.call('SMISMEMBER', g .. '.d', unpack(names))
  local added = redis.call('SADD', g .. '.d', unpack(names))
  for n, i in ipairs(places) do
    if added == #names or known and known[n] == 0 and not is_known[names[n]] then
      is_known[names[n]] = true
      scored[#scored + 1] = A[i + 1]
      scored[#scored + 1] = A[i + 2]
    end
  end
  if added > 0 then keep_parts(g, scored) end
  local counted = redis.call('SCARD', g .. '.d')
  -- With the first part, and now and then.
  if added > 0 and math.floor((counted - added + 63) / 64) ~= math.floor((counted + 63) / 64) then
    for _, suffix in ipairs({'.j', '.t', '.s', '.d'}) do
      redis.call('EXPIRE', g .. suffix, JOIN_TTL)
    end
  end
  if not size then return false, size end
  local wanted = tonumber(size) + tonumber(grown or 0)
  if added > 1 and counted - added < wanted then counted = math.min(counted, wanted) end
  return are_all(g, counted, wanted, added > 0), size
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
