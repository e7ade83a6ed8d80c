-- Renews the lease of a node on a queue, by the server's own clock.
-- KEYS[1] nodes  KEYS[2] in flight  KEYS[3] queues that have, or had, nodes  ARGV[1] node  ARGV[2] ms that the lease lives
-- ARGV[3] '1': a new one, for a node that never had one  ARGV[4] the queue
-- Returns 0 when it was given up meanwhile (a negative score, or none) or has left (0), else the tags in flight.
-- include refuse
local refused = refuse('zset', 1) or refuse('hash', 2) or ARGV[3] == '1' and refuse('set', 3)
if refused then return refused end
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[3] ~= '1' and not lease or lease and tonumber(lease) <= 0 then return 0 end
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2]), ARGV[1])
if ARGV[3] == '1' then redis.call('SADD', KEYS[3], ARGV[4]) end
if redis.call('HLEN', KEYS[2]) > 10000 then return {} end
return redis.call('HKEYS', KEYS[2])
