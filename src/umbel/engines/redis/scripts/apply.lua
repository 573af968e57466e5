-- needs: results, joins
-- The result side of a settlement whose message is on another server; idempotent, so a join that is
-- complete is claimed again until it is closed, but only by the member that has completed it: the
-- claim is published in the step that acknowledges that member. Where a crash came in between, it is
-- delivered again; where none did, another member that is must not send the body a second time.
--
-- ARGV: ORDERED, JOIN_TTL, DONE_TTL, then five blocks, each a count and its arguments: documents
-- (4), openings (2), growths (2), parts (4), closings (2). Gives the numbers of the parts, from 0,
-- whose join is complete.
local A, at = ARGV, 4
ORDERED, JOIN_TTL, DONE_TTL = A[1], A[2], A[3]

-- Where the members of a block begin.
local function block(width)
  local begins = {}
  for i = 0, tonumber(A[at]) - 1 do begins[i + 1] = at + 1 + i * width end
  at = at + 1 + #begins * width
  return begins
end

local documents, opens, grows, parts, closes = block(4), block(2), block(2), block(4), block(2)

-- One that was counted before has added what it adds before.
local function has_grown(g)
  for _, i in ipairs(parts) do
    if A[i] == g and is_counted(g, A[i + 1], A[i + 2]) then return true end
  end
  return false
end

for _, i in ipairs(documents) do store(A[i], A[i + 1], A[i + 2], A[i + 3]) end
for _, i in ipairs(opens) do open_join(A[i], A[i + 1]) end
for _, i in ipairs(grows) do
  if not has_grown(A[i]) then grow_join(A[i], A[i + 1]) end
end
local complete = {}
for number, i in ipairs(parts) do
  local claim, by = A[i] .. '.c', 'umbel ' .. A[i + 1] .. ':' .. A[i + 2]
  if count_parts(A[i], A, {i + 1})
    and (redis.call('SET', claim, by, 'NX', 'EX', JOIN_TTL) or redis.call('GET', claim) == by) then
    complete[#complete + 1] = number - 1
  end
end
for _, i in ipairs(closes) do close_join(A[i], A[i + 1]) end
return complete
