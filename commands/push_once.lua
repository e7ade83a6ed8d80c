-- Pushes the messages whose marks are not there yet, in order, and sets their marks.
-- KEYS[1] list  KEYS[2] counts  KEYS[3..] mark of each message  ARGV[1] ms that a mark lives  ARGV[2..] messages
-- Returns how many were pushed.
-- include refuse
-- A mark is seldom there: its type is looked at only then.
local refused = refuse('list', 1) or redis.call('EXISTS', unpack(KEYS, 3)) > 0 and refuse('string', 3, #KEYS)
if refused then return refused end
local fresh = {}
for i = 3, #KEYS do
  if redis.call('SET', KEYS[i], '1', 'NX', 'PX', ARGV[1]) then
    fresh[#fresh + 1] = ARGV[i - 1]
  else
    -- Writes too, so that a WAIT behind this waits for what the first sending has written.
    redis.call('SET', KEYS[i], '1', 'XX', 'KEEPTTL')
  end
end
if #fresh > 0 then
  redis.call('LPUSH', KEYS[1], unpack(fresh))
  redis.pcall('HINCRBY', KEYS[2], 'published', #fresh)
end
return #fresh
