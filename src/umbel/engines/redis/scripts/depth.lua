-- needs: values
-- ARGV: P, queue, its lists. Gives {ready, due, leased, lane}. Reads every lease: for people, not
-- for loops.
P = ARGV[1]
local queue, ready, leased = ARGV[2], 0, 0
for i = 3, #ARGV do ready = ready + redis.call('LLEN', ARGV[i]) end
for _, consumer in ipairs(redis.call('ZRANGE', P .. 'umbel:consumers', 0, -1)) do
  for _, value in ipairs(redis.call('HVALS', P .. 'umbel:i:' .. consumer)) do
    if split(value).queue == queue then leased = leased + 1 end
  end
end
local lane = 0
for _, kind in ipairs({'verdicts:', 'lane:', 'suspects:'}) do
  lane = lane + redis.call('LLEN', P .. 'umbel:' .. kind .. queue)
end
return {ready, redis.call('ZCARD', P .. 'umbel:due:' .. queue), leased, lane}
