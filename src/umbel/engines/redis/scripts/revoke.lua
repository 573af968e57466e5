-- needs: values
-- Remembers revoked ids. Sent again it only makes one more epoch.
--
-- ARGV: P, seconds to remember them, ids. Gives those that are leased. Reads every lease: a task is
-- revoked by a person, or because one fails, not thousands of times a second.
P = ARGV[1]
local epoch = redis.call('INCR', P .. 'umbel:revoked:epoch')
local until_when, wanted, held = server_time() + ARGV[2], {}, {}
for i = 3, #ARGV do
  redis.call('ZADD', P .. 'umbel:revoked', epoch, ARGV[i])
  redis.call('ZADD', P .. 'umbel:revoked:until', until_when, ARGV[i])
  wanted[ARGV[i]] = true
end
for _, consumer in ipairs(redis.call('ZRANGE', P .. 'umbel:consumers', 0, -1)) do
  for _, value in ipairs(redis.call('HVALS', P .. 'umbel:i:' .. consumer)) do
    local _, to = string.find(value, '"id"', 1, true)
    local id = to and string.match(value, '^%s*:%s*"([^"\\]+)"', to + 1)
    if id and wanted[id] then
      wanted[id] = nil
      held[#held + 1] = id
    end
  end
end
return held
