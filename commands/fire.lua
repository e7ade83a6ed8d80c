-- Pushes a message unless the slot was fired before.
-- KEYS[1] mark of the slot  KEYS[2] list  KEYS[3] counts  ARGV[1] ms that the mark lives  ARGV[2] message
-- Returns 1, or 0 when it was.
-- include refuse
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local pushed = redis.pcall('LPUSH', KEYS[2], ARGV[2])
if type(pushed) == 'table' then return refuse('list', 2) or pushed end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
redis.pcall('HINCRBY', KEYS[3], 'published', 1)
return 1
