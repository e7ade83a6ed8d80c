-- Counts what a queue holds.
-- KEYS[1..4] lists of steps 0 3 6 9  KEYS[5] delayed  KEYS[6] dead
-- KEYS[7..] of each node: in flight (hashes), then what is staged (lists)  ARGV[1] how many are hashes
-- Returns waiting, in flight, delayed, dead, and the message served next or nil.
local waiting, in_flight, oldest = 0, 0, false
for i = 1, 4 do
  waiting = waiting + redis.call('LLEN', KEYS[i])
  oldest = oldest or redis.call('LINDEX', KEYS[i], -1)
end
for i = 7, #KEYS do
  in_flight = in_flight + redis.call(i - 7 < tonumber(ARGV[1]) and 'HLEN' or 'LLEN', KEYS[i])
end
return {waiting, in_flight, redis.call('ZCARD', KEYS[5]), redis.call('XLEN', KEYS[6]), oldest}
