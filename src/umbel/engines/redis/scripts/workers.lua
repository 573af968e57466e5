-- ARGV: P. Gives the consumers whose lease has not passed, by the server's clock.
local now = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', ARGV[1] .. 'umbel:consumers', now[1] + now[2] / 1000000, '+inf')
