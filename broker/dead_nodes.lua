-- Which nodes of a queue have no lease any more: those whose time is over, then those given up before,
-- for what may still be staged for them by a command that came late.
-- KEYS[1] nodes  ARGV[1] at most so many  Returns their names.
-- Writes nothing, and is refused when writes are (too few replicas, a full disk, no memory): leases run out
-- then, of nodes that live.
redis.call('ZADD', KEYS[1], 'XX', 0, '')
local now = redis.call('TIME')
now = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
local over = redis.call('ZRANGEBYSCORE', KEYS[1], 0, now, 'LIMIT', 0, ARGV[1])
local left = tonumber(ARGV[1]) - #over
local gone = redis.call('ZCOUNT', KEYS[1], '-inf', '(0')
if left <= 0 or gone == 0 then return over end
local first = gone > left and math.random(0, gone - left) or 0
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(0', 'LIMIT', first, left)) do
  over[#over + 1] = node
end
return over
