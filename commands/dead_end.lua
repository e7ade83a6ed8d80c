-- Ends quarantine: entries, those still there, go back as new ones of the list that they came from,
-- or for good.
-- KEYS[1] dead  KEYS[2] counts  KEYS[3] ledger  KEYS[4..7] lists of steps 0 3 6 9, or not given: they
-- are dropped
-- ARGV[1..] ENTRY MESSAGE ('': as it is)
-- Returns how many.
-- include refuse
local refused = refuse('stream', 1) or refuse('list', 4, #KEYS)
if refused then return refused end
local lists, count = {['0'] = KEYS[4], ['3'] = KEYS[5], ['6'] = KEYS[6], ['9'] = KEYS[7]}, 0
for a = 1, #ARGV, 2 do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[a], ARGV[a])[1]
  local fields = {}
  for i = 1, entry and #entry[2] or 0, 2 do fields[entry[2][i]] = entry[2][i + 1] end
  local message = ARGV[a + 1] ~= '' and ARGV[a + 1] or fields.message
  if entry and (not KEYS[4] or message) then
    if KEYS[4] then
      redis.call('LPUSH', lists[fields.step] or KEYS[4], message)
    else
      redis.pcall('HDEL', KEYS[3], fields.task_id or '')
    end
    redis.call('XDEL', KEYS[1], ARGV[a])
    count = count + 1
  end
end
if count > 0 then redis.pcall('HINCRBY', KEYS[2], KEYS[4] and 'returned' or 'dropped', count) end
return count
