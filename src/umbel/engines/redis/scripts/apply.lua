-- needs: results, joins
-- The result side of a settlement whose message is on another server; idempotent, so a join that is
-- complete is claimed again until it is closed.
--
-- ARGV: ORDERED, JOIN_TTL, DONE_TTL, then five blocks, each a count and its arguments: documents
-- (4), openings (2), growths (2), parts (4), closings (2). Gives the numbers of the parts, from 0,
-- whose join is complete.
ORDERED, JOIN_TTL, DONE_TTL = ARGV[1], ARGV[2], ARGV[3]
local at, complete = 4, {}
local function each(width, act)
  local count = tonumber(ARGV[at])
  at = at + 1
  for i = 0, count - 1 do
    act(i, unpack(ARGV, at, at + width - 1))
    at = at + width
  end
end
each(4, function(_, ...) store(...) end)
each(2, function(_, ...) open_join(...) end)
each(2, function(_, ...) grow_join(...) end)
each(4, function(i, g, ...)
  if count_part(g, ...) then
    local claim = g .. '.c'
    if redis.call('SET', claim, 'umbel', 'NX', 'EX', JOIN_TTL)
      or redis.call('GET', claim) == 'umbel' then complete[#complete + 1] = i end
  end
end)
each(2, function(_, ...) close_join(...) end)
return complete
