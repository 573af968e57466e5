-- One message, the common case: key and number of the producer's batch, its TTL, list, message.
local last = redis.call('GET', ARGV[1])
if last and tonumber(last) >= tonumber(ARGV[2]) then return 0 end
redis.call('SET', ARGV[1], ARGV[2], 'EX', ARGV[3])
redis.call('LPUSH', ARGV[4], ARGV[5])
return 1
