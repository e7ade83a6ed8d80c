-- Counts what a queue holds.
-- KEYS[1..4] lists of steps 0 3 6 9  KEYS[5] delayed  KEYS[6] dead  KEYS[7] counts  KEYS[8] nodes
-- KEYS[9..] keys that were found: in flight (hashes), then what is staged (lists)
-- ARGV[1] how many are hashes  ARGV[2] ARGV[3] what stands before a node's name in its keys in flight and staged
-- Those of the nodes that are known now are counted as well, so that all is of one moment.
-- Returns waiting, staged, in flight, delayed, dead, the message served next or nil, and the counts.
-- include refuse
local refused = refuse('list', 1, 4) or refuse('zset', 5) or refuse('stream', 6) or refuse('hash', 7) or refuse('zset', 8)
if refused then return refused end
local waiting, staged, in_flight, oldest, seen = 0, 0, 0, false, {}
for i = 1, 4 do
  waiting = waiting + redis.call('LLEN', KEYS[i])
  oldest = oldest or redis.call('LINDEX', KEYS[i], -1)
end
local function count_in_flight(key)
  if not seen[key] then in_flight = in_flight + redis.call('HLEN', key) end
  seen[key] = true
end
local function count_staged(key)
  if not seen[key] then staged = staged + redis.call('LLEN', key) end
  seen[key] = true
end
for i = 9, #KEYS do (i - 9 < tonumber(ARGV[1]) and count_in_flight or count_staged)(KEYS[i]) end
for _, node in ipairs(redis.call('ZRANGE', KEYS[8], 0, -1)) do
  count_in_flight(ARGV[2] .. node)
  for _, step in ipairs({'', '\6\0223', '\6\0226', '\6\0229'}) do count_staged(ARGV[3] .. node .. step) end
end
return {waiting, staged, in_flight, redis.call('ZCARD', KEYS[5]), redis.call('XLEN', KEYS[6]), oldest,
  redis.call('HGETALL', KEYS[7])}
