-- Ends quarantine: entries, those still there, go back as new ones of the list that they came from,
-- or for good.
-- KEYS[1] dead  KEYS[2] counts  KEYS[3..6] lists of steps 0 3 6 9, or not given: they are dropped
-- ARGV[1..] ENTRY MESSAGE ('': as it is)
-- Returns how many.
for i = 3, #KEYS do
  local is = redis.call('TYPE', KEYS[i]).ok
  if is ~= 'none' and is ~= 'list' then
    return {err = 'WRONGTYPE ' .. KEYS[i] .. ' is a ' .. is .. ' and no list'}
  end
end
local lists, count = {['0'] = KEYS[3], ['3'] = KEYS[4], ['6'] = KEYS[5], ['9'] = KEYS[6]}, 0
for a = 1, #ARGV, 2 do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[a], ARGV[a])[1]
  local fields = {}
  for i = 1, entry and #entry[2] or 0, 2 do fields[entry[2][i]] = entry[2][i + 1] end
  local message = ARGV[a + 1] ~= '' and ARGV[a + 1] or fields.message
  if entry and (not KEYS[3] or message) then
    if KEYS[3] then redis.call('LPUSH', lists[fields.step] or KEYS[3], message) end
    redis.call('XDEL', KEYS[1], ARGV[a])
    count = count + 1
  end
end
if count > 0 then redis.call('HINCRBY', KEYS[2], KEYS[3] and 'returned' or 'dropped', count) end
return count
