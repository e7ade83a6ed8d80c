-- Deletes what waits.
-- KEYS[1] counts  KEYS[2..5] lists of steps 0 3 6 9  KEYS[6] delayed, or not given
-- Returns how many messages there were.
-- include refuse
local refused = refuse('list', 2, 5) or KEYS[6] and refuse('zset', 6)
if refused then return refused end
local waiting, delayed = 0, 0
for i = 2, 5 do waiting = waiting + redis.call('LLEN', KEYS[i]) end
if KEYS[6] then delayed = redis.call('ZCARD', KEYS[6]) end
redis.call('UNLINK', unpack(KEYS, 2))
if waiting > 0 then redis.pcall('HINCRBY', KEYS[1], 'purged', waiting) end
if delayed > 0 then redis.pcall('HINCRBY', KEYS[1], 'cancelled', delayed) end
return waiting + delayed
