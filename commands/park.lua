-- From in flight into the delayed set.
-- KEYS[1] in flight  KEYS[2] delayed  ARGV[1] tag  ARGV[2] due, ms  ARGV[3] what makes the member unique
-- Returns 1, or 0 when the claim is not ours any more.
local message = redis.call('HGET', KEYS[1], ARGV[1])
if not message then return 0 end
local parked = redis.pcall('ZADD', KEYS[2], ARGV[2], ARGV[3] .. message)
if type(parked) == 'table' then return {err = parked.err .. ' (' .. KEYS[2] .. ')'} end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
