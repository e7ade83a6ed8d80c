-- Ends claims; one HDEL of them all would tell how many there were, not which.
-- KEYS[1] in flight  KEYS[2] counts  KEYS[3] ledger, or not given
-- ARGV[1..] tags, then, with a ledger, their ids
-- Returns the numbers of those (1: the first tag) that are not ours any more.
local lost, count = {}, KEYS[3] and #ARGV / 2 or #ARGV
for i = 1, count do
  if redis.call('HDEL', KEYS[1], ARGV[i]) == 0 then
    lost[#lost + 1] = i
  elseif KEYS[3] then
    redis.pcall('HDEL', KEYS[3], ARGV[count + i])
  end
end
if #lost < count then redis.pcall('HINCRBY', KEYS[2], 'done', count - #lost) end
return lost
