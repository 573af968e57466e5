-- needs: values
-- Puts dead letters back to the far end of their queues, with nothing held against them.
--
-- ARGV: P, numbers with the oldest first. Gives how many went back. Sent again it finds nothing to do.
P = ARGV[1]
local count = 0
for i = 2, #ARGV do
  local key = P .. 'umbel:dead:' .. ARGV[i]
  local fields = redis.call('HMGET', key, 'raw', 'queue', 'suffix', 'flags')
  local raw, queue = fields[1], fields[2]
  if raw then
    -- The first write needs no memory, so that the push is allowed on a full server.
    redis.call('DEL', key)
    redis.call('ZREM', P .. 'umbel:dead', ARGV[i])
    local tag = tag_of(raw)
    -- Somebody asked for this run: what follows from it is to be sent.
    if tag then redis.call('DEL', P .. 'umbel:d:' .. queue .. ':' .. tag) end
    give_back({deliveries = 0, losses = 0, history = '', tries = 0, flags = fields[4] or '',
      verdict = '', queue = queue, suffix = fields[3] or '', raw = raw}, 'LPUSH')
    count = count + 1
  end
end
return count
