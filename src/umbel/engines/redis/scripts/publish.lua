-- needs: joins
-- Opens joins, then pushes messages; once, however often and late it arrives.
--
-- ARGV: key and number of the producer's batch, its TTL, how many openings, then (broker database,
-- result database, TTL of joins where there are any; group key, size, ...), then runs: list, count,
-- messages. The first write is a SET, which a full server refuses, and with it the whole batch.
-- Gives 1 stored now, 0 stored before.

local key, seq = ARGV[1], tonumber(ARGV[2])
local last = redis.call('GET', key)
if last and tonumber(last) >= seq then return 0 end
redis.call('SET', key, seq, 'EX', ARGV[3])
local opens, at = tonumber(ARGV[4]), 5
if opens > 0 then
  local broker_db, result_db = ARGV[5], ARGV[6]
  JOIN_TTL, at = ARGV[7], 8
  if result_db ~= broker_db then redis.call('SELECT', result_db) end
  for _ = 1, opens do
    open_join(ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  if result_db ~= broker_db then redis.call('SELECT', broker_db) end
end
while at < #ARGV do
  local list, count = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  for i = 0, count - 1, 1000 do
    redis.call('LPUSH', list, unpack(ARGV, at + i, at + math.min(i + 1000, count) - 1))
  end
  at = at + count
end
return 1
