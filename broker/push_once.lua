-- Pushes the messages whose marks are not there yet, in order, and sets their marks.
-- KEYS[1] list  KEYS[2] counts  KEYS[3..] mark of each message  ARGV[1] ms that a mark lives  ARGV[2..] messages
-- Returns how many were pushed.
local function refuse(key, is, type)
  return {err = 'WRONGTYPE ' .. key .. ' is a ' .. is .. ' and no ' .. type}
end

-- Nothing can be taken back here, so look at all first. A mark is seldom there.
local is = redis.call('TYPE', KEYS[1]).ok
if is ~= 'list' and is ~= 'none' then return refuse(KEYS[1], is, 'list') end
if redis.call('EXISTS', unpack(KEYS, 3)) > 0 then
  for i = 3, #KEYS do
    is = redis.call('TYPE', KEYS[i]).ok
    if is ~= 'string' and is ~= 'none' then return refuse(KEYS[i], is, 'string') end
  end
end
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
