-- Pushes messages, in order, and opens the chords that begin with them.
-- ARGV[1] seconds that chords live, 0 for ever  ARGV[2] ms that a mark lives; 0: there are no marks
-- ARGV[3..] actions: chord, as in part_chord.lua | push N MESSAGE ...    KEYS list counts, with marks one for each message
-- A message whose mark is there is not pushed; where all are there nothing is opened either.
-- Returns how many were pushed.
-- include refuse
-- include store
-- include chord
local has_marks, marked, total = ARGV[2] ~= '0', 0, 0

-- Goes through the actions; what `visit` returns ends the script.
local function each(visit)
  local a, k = 3, 1
  while a <= #ARGV do
    local n = ARGV[a] == 'push' and tonumber(ARGV[a + 1])
    local answer = visit(k, a, n)
    if answer then return answer end
    if n then
      a, k = a + 2 + n, k + 2 + (has_marks and n or 0)
    else
      a, k = a + chords.sizes[ARGV[a]], k + #chords.types[ARGV[a]]
    end
  end
end

local refused = each(function(k, a, n)
  if not n then return chords.look(k, a) end
  local bad = refuse('list', k) or has_marks and refuse('string', k + 2, k + 1 + n)
  if bad then return bad end
  for i = 1, has_marks and n or 0 do marked = marked + redis.call('EXISTS', KEYS[k + 1 + i]) end
  total = total + n
end)
if refused then return refused end

local pushed, opens = 0, marked < total
each(function(k, a, n)
  if not n then
    if opens then chords.write(k, a, ARGV[1]) end
    return
  end
  local before = pushed
  for i = 1, n do
    if not has_marks or redis.call('SET', KEYS[k + 1 + i], '1', 'NX', 'PX', ARGV[2]) then
      redis.call('LPUSH', KEYS[k], ARGV[a + 1 + i])
      pushed = pushed + 1
    else
      -- Writes too, so that a WAIT behind this waits for what the first sending has written.
      redis.call('SET', KEYS[k + 1 + i], '1', 'XX', 'KEEPTTL')
    end
  end
  if pushed > before then redis.pcall('HINCRBY', KEYS[k + 1], 'published', pushed - before) end
end)
return pushed
