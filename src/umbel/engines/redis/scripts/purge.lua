-- ARGV: P, queue, its lists. Deletes what is ready and what is due; gives how many.
local P, queue, count = ARGV[1], ARGV[2], 0
for i = 3, #ARGV do
  count = count + redis.call('LLEN', ARGV[i])
  redis.call('DEL', ARGV[i])
end
count = count + redis.call('ZCARD', P .. 'umbel:due:' .. queue)
redis.call('DEL', P .. 'umbel:due:' .. queue, P .. 'umbel:parked:' .. queue)
redis.call('ZREM', P .. 'umbel:due', queue)
return count
