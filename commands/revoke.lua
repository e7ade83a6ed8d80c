-- Adds revocations and forgets those that are over.
-- KEYS[1] revocations, a stream  KEYS[2] id of the newest  KEYS[3] ids by the ms until which they hold
-- ARGV[1] ms that these hold  ARGV[2..] for each: task id, name and value of a stamp, signal
-- An id is a number and when it was made: a failover gives numbers out again that it has lost, no id.
-- include refuse
local function number_of(id) return tonumber(id and id:match('^%d+') or 0) end

local refused = refuse('stream', 1) or refuse('string', 2) or refuse('zset', 3)
if refused then return refused end
local time = redis.call('TIME')
local made, now = time[1] * 1000000 + time[2], time[1] * 1000 + math.floor(time[2] / 1000)
local last = (redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1] or {})[1]
local number = math.max(number_of(last), number_of(redis.call('GET', KEYS[2])))
local over = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('(%.0f', now), 'LIMIT', 0, 256)
local till, id = string.format('%.0f', now + ARGV[1])
for i = 2, #ARGV, 4 do
  number = number + 1
  id = string.format('%.0f-%.0f', number, made)
  redis.call('XADD', KEYS[1], id, 'id', ARGV[i], 'stamp', ARGV[i + 1], 'value', ARGV[i + 2], 'signal',
    ARGV[i + 3], 'until', till)
  redis.call('ZADD', KEYS[3], till, id)
end
redis.call('SET', KEYS[2], id)
for _, old in ipairs(over) do
  if old ~= last then -- up to which workers have read: they go on from there
    redis.call('XDEL', KEYS[1], old)
    redis.call('ZREM', KEYS[3], old)
  end
end
return id
