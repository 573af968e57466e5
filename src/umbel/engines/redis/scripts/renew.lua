-- ARGV: P, seconds, consumers. Gives those that are not enlisted; they are not revived.
local P, lost = ARGV[1], {}
local now = redis.call('TIME')
local deadline = now[1] + now[2] / 1000000 + ARGV[2]
for i = 3, #ARGV do
  -- GETEX is the first write and needs no memory: the ZADD behind it works on a full server.
  if redis.call('GETEX', P .. 'umbel:c:' .. ARGV[i]) then
    redis.call('ZADD', P .. 'umbel:consumers', deadline, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
