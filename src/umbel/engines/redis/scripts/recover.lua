-- needs: values
-- Takes everything from a consumer and forgets it. The first write forgets, so that from there on
-- nothing that it still sends counts.
--
-- ARGV: P, consumer, key of the suspect's mark, most deliveries, verdict of poison, verdict of what
-- had begun ('' when a consumer retires: there is nobody to judge, so what has begun is left for
-- the next sweep), then losses: token, verdict or '', '1' where it counts, how its process died.
-- Gives how many messages moved.
P = ARGV[1]
local consumer, most, poison, begun = ARGV[2], tonumber(ARGV[4]), ARGV[5], ARGV[6]
redis.call('DEL', P .. 'umbel:c:' .. consumer)
local losses = {}
for i = 7, #ARGV, 4 do
  losses[ARGV[i]] = {verdict = ARGV[i + 1], counted = ARGV[i + 2] == '1', how = ARGV[i + 3]}
end
local moved, left = 0, 0
for _, one in ipairs(held_by(consumer)) do
  local m, loss = split(one.value), losses[one.token]
  if m.flags == 'b' and begun == '' then
    left = left + 1
  else
    redis.call('HDEL', P .. 'umbel:i:' .. consumer, one.token)
    if loss then
      if m.verdict ~= '' then
        -- It was not run: who died was about to carry the verdict out.
        if loss.counted then m.tries = m.tries + 1 end
      else
        if loss.counted then m.deliveries = m.deliveries + 1 end
        if loss.verdict ~= '' then
          m.verdict = loss.verdict
        elseif loss.counted and m.deliveries + math.min(m.losses, 1) >= most and m.flags ~= 'b' then
          -- The first loss with a whole worker was not counted, but it may have been a run.
          m.verdict = poison
        end
      end
      if loss.counted or m.verdict ~= '' or m.flags == 'b' then add_death(m, consumer, loss.how) end
    end
    if m.flags == 'b' then
      if m.verdict == '' then m.verdict = begun end
      m.flags = ''
    end
    -- It was leased by somebody who is gone: the lane remembers that. Who retires has not begun
    -- what it gives back.
    if begun ~= '' and (m.flags == '' or m.flags == 'j') then m.flags = m.flags .. 'r' end
    give_back(m, 'RPUSH')
    moved = moved + 1
  end
end
unmark(consumer, ARGV[3])
if left == 0 then
  redis.call('ZREM', P .. 'umbel:consumers', consumer)
else
  redis.call('ZADD', P .. 'umbel:consumers', 0, consumer)
end
return moved
