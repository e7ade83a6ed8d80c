-- From in flight back to the serving end of its list.
-- KEYS[1] in flight  KEYS[2] counts  KEYS[3] list  ARGV[1] tag
-- Returns 1, or 0 when the claim is not ours any more.
local message = redis.call('HGET', KEYS[1], ARGV[1])
if not message then return 0 end
local pushed = redis.pcall('RPUSH', KEYS[3], message)
if type(pushed) == 'table' then return {err = pushed.err .. ' (' .. KEYS[3] .. ')'} end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.pcall('HINCRBY', KEYS[2], 'returned', 1)
return 1
