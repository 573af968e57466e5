-- needs: values, joins
-- Opens joins, then pushes messages; once, however often and late it arrives.
--
-- ARGV: key and number of the producer's batch, its TTL, P, how many openings, then (broker
-- database, result database, TTL of joins where there are any; group key, size, ...), then runs (see
-- values.lua). The first write is a SET, which a full server refuses, and with it the whole batch.
-- Gives 1 stored now, 0 stored before.

local key, seq = ARGV[1], tonumber(ARGV[2])
local last = redis.call('GET', key)
if last and tonumber(last) >= seq then return 0 end
redis.call('SET', key, seq, 'EX', ARGV[3])
P = ARGV[4]
local opens, at, early, refusal = tonumber(ARGV[5]), 6, {}, nil
if opens > 0 then
  local broker_db, result_db = ARGV[6], ARGV[7]
  JOIN_TTL, at = ARGV[8], 9
  if result_db ~= broker_db then redis.call('SELECT', result_db) end
  for _ = 1, opens do
    early[#early + 1] = open_join(ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  if result_db ~= broker_db then redis.call('SELECT', broker_db) end
end
for _, claim in ipairs(early) do
  local queue, value = split_claim(claim)
  redis.call('LPUSH', P .. 'umbel:lane:' .. queue, value)
end
while at < #ARGV do
  at = push_run(ARGV, at, function(error) refusal = refusal or error end)
end
return refusal or 1
