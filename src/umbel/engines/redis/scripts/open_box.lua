-- ARGV: binding table, table of deadlines, exchange, member, milliseconds. Celery deletes a table
-- whose deadline has passed; any client's opening moves it on.
redis.call('SADD', ARGV[1], ARGV[4])
local now = redis.call('TIME')
redis.call('ZADD', ARGV[2], 'GT', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[5], ARGV[3])
return 1
