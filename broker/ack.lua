-- Ends claims; one HDEL of them all would tell how many there were, not which.
-- KEYS[1] in flight  KEYS[2] counts  ARGV[1..] tags
-- Returns the numbers of those (1: the first tag) that are not ours any more.
local lost = {}
for i, tag in ipairs(ARGV) do
  if redis.call('HDEL', KEYS[1], tag) == 0 then lost[#lost + 1] = i end
end
if #lost < #ARGV then redis.call('HINCRBY', KEYS[2], 'done', #ARGV - #lost) end
return lost
