-- Which nodes of a queue have no lease any more: those whose time is over, then those given up before,
-- for what may still be staged for them by a command that came late; the last ones first.
-- KEYS[1] nodes  ARGV[1] at most so many  Returns their names.
-- Writes nothing, but asks to: while the server refuses writes (no memory, a full disk, too few replicas)
-- it refuses renewals, and leases that seem to be over then mean nothing.
-- include refuse
local refused = refuse('zset', 1)
if refused then return refused end
redis.call('ZADD', KEYS[1], 'XX', 0, '')
local time, room = redis.call('TIME'), tonumber(ARGV[1])
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local nodes = redis.call('ZRANGEBYSCORE', KEYS[1], 0, string.format('%.0f', now), 'LIMIT', 0, room)

-- Some of those with such scores. (Before Redis 7 math.random draws the same in each run of a script.)
local function add(min, max)
  local left, count = room - #nodes, redis.call('ZCOUNT', KEYS[1], min, max)
  local first = count > left and time[2] % (count - left + 1) or 0
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], min, max, 'LIMIT', first, left)) do
    nodes[#nodes + 1] = node
  end
end

local recent = string.format('%.0f', 30000 - now)
if #nodes < room then add('-inf', recent) end
if #nodes < room then add('(' .. recent, '(0') end
return nodes
