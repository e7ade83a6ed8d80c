-- The revocations after one; all of them when that one is not there: over, or lost in a failover.
-- KEYS[1] revocations  KEYS[2] id of the newest  ARGV[1] id of the one  ARGV[2] how many at most
-- Returns the id of the newest, the time in ms, the id after which these come, and these.
-- include refuse
local refused = refuse('stream', 1) or refuse('string', 2)
if refused then return refused end
local time = redis.call('TIME')
local after = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1] and ARGV[1] or '0-0'
return {redis.call('GET', KEYS[2]) or '', time[1] * 1000 + math.floor(time[2] / 1000), after,
  redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', ARGV[2])}
