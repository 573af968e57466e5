-- ARGV: P, numbers. Deletes dead letters; gives how many there were.
local P, count = ARGV[1], 0
for i = 2, #ARGV do
  count = count + redis.call('DEL', P .. 'umbel:dead:' .. ARGV[i])
  redis.call('ZREM', P .. 'umbel:dead', ARGV[i])
end
return count
