-- needs: values
-- ARGV: P, consumer, key of the suspect's mark, tokens with the newest first. Gives how many were
-- held and went back. What has begun and must not begin again stays where it is.
P = ARGV[1]
local consumer, count = ARGV[2], 0
local mine = P .. 'umbel:i:' .. consumer
redis.call('HDEL', mine, '') -- the first write, and one that a full server allows
for i = 4, #ARGV do
  local value = redis.call('HGET', mine, ARGV[i])
  if value then
    local m = split(value)
    if m.flags ~= 'b' then
      redis.call('HDEL', mine, ARGV[i])
      give_back(m, 'RPUSH')
      count = count + 1
      if m.losses > 1 then unmark(consumer, ARGV[3]) end
    end
  end
end
return count
