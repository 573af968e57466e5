-- ARGV: binding table, member, list, answer, seconds. Nothing where the box is not open.
if redis.call('SISMEMBER', ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('LPUSH', ARGV[3], ARGV[4])
redis.call('EXPIRE', ARGV[3], ARGV[5])
return 1
