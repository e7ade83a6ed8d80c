-- Ends the lease of a node that stops: what it leaves behind, if anything, is rescued at once. One that
-- was given up stays so.
-- KEYS[1] nodes  ARGV[1] node
-- include refuse
local refused = refuse('zset', 1)
if refused then return refused end
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if lease and tonumber(lease) > 0 then redis.call('ZADD', KEYS[1], 0, ARGV[1]) end
return 1
