-- Ends delays, of those members that are still there: they go to the serving end of their lists, the
-- first served first, or for good, with a result that says so.
-- KEYS[1] delayed  KEYS[2] counts  KEYS[3..6] lists of steps 0 3 6 9
-- KEYS[7] ledger  KEYS[8..] result of each, when they are cancelled (not looked at without a document)
-- ARGV[1] run | cancel  ARGV[2] seconds that a result lives, 0 for ever
-- ARGV[3..] run: MEMBER MESSAGE | cancel: MEMBER DOCUMENT ID  DOCUMENT: '' for none
-- Returns the numbers of those that were there, 1 for the first, in any order.
-- include store
-- include refuse
local refused = refuse('zset', 1) or refuse('list', 3, 6)
if refused then return refused end
local size = ARGV[1] == 'run' and 2 or 3
local lists, ended = {['0'] = KEYS[3], ['3'] = KEYS[4], ['6'] = KEYS[5], ['9'] = KEYS[6]}, {}
for a = #ARGV - size + 1, 3, -size do -- the first is to be served first
  local number = (a - 3) / size + 1
  if redis.call('ZSCORE', KEYS[1], ARGV[a]) then
    ended[#ended + 1] = number
    if ARGV[1] == 'run' then
      redis.call('RPUSH', lists[ARGV[a]:match('^[^\n]*%.(%d)\n')] or KEYS[3], ARGV[a + 1])
    end
    redis.call('ZREM', KEYS[1], ARGV[a])
    if ARGV[1] == 'cancel' then
      redis.pcall('HDEL', KEYS[7], ARGV[a + 2])
      if ARGV[a + 1] ~= '' then store(KEYS[7 + number], ARGV[a + 1], ARGV[2]) end
    end
  end
end
if #ended > 0 then
  redis.pcall('HINCRBY', KEYS[2], ARGV[1] == 'run' and 'returned' or 'cancelled', #ended)
end
return ended
