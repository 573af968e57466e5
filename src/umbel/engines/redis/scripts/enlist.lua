-- ARGV: P, consumer, seconds. The state stays where it is: idempotent.
local P, consumer = ARGV[1], ARGV[2]
-- Needs no memory, so that what follows may, on a full server.
local state = redis.call('GETEX', P .. 'umbel:c:' .. consumer)
if not state then redis.call('SET', P .. 'umbel:c:' .. consumer, '- 0 0 0 0 ') end
local now = redis.call('TIME')
redis.call('ZADD', P .. 'umbel:consumers', now[1] + now[2] / 1000000 + ARGV[3], consumer)
return 1
