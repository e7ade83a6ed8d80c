-- Counts what a queue holds.
-- KEYS[1..4] lists of steps 0 3 6 9  KEYS[5] delayed  KEYS[6] dead  KEYS[7] counts
-- KEYS[8..] of each node: in flight (hashes), then what is staged (lists)  ARGV[1] how many are hashes
-- Returns waiting, staged, in flight, delayed, dead, the message served next or nil, and the counts.
local waiting, staged, in_flight, oldest = 0, 0, 0, false
for i = 1, 4 do
  waiting = waiting + redis.call('LLEN', KEYS[i])
  oldest = oldest or redis.call('LINDEX', KEYS[i], -1)
end
for i = 8, #KEYS do
  if i - 8 < tonumber(ARGV[1]) then
    in_flight = in_flight + redis.call('HLEN', KEYS[i])
  else
    staged = staged + redis.call('LLEN', KEYS[i])
  end
end
return {waiting, staged, in_flight, redis.call('ZCARD', KEYS[5]), redis.call('XLEN', KEYS[6]), oldest,
  redis.call('HGETALL', KEYS[7])}
