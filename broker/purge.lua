-- Deletes what waits.
-- KEYS[1..4] lists of steps 0 3 6 9  KEYS[5] delayed, or not given
-- Returns how many messages there were.
local count = 0
for i = 1, #KEYS do
  count = count + redis.call(i == 5 and 'ZCARD' or 'LLEN', KEYS[i])
end
redis.call('UNLINK', unpack(KEYS))
return count
