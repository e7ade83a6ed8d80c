-- Adds revocations, numbered one after the other, and forgets those that are too old.
-- KEYS[1] revocations, a stream whose ids are their numbers  KEYS[2] number of the newest
-- ARGV[1] ms that they are kept  ARGV[2..] for each: task id, name and value of a stamp, signal
-- Returns the number of the newest.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number = tonumber(redis.call('GET', KEYS[2]) or 0)
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then number = math.max(number, tonumber(last[1]:match('^%d+'))) end
for i = 2, #ARGV, 4 do
  number = number + 1
  redis.call('XADD', KEYS[1], string.format('%.0f-0', number), 'id', ARGV[i], 'stamp', ARGV[i + 1],
    'value', ARGV[i + 2], 'signal', ARGV[i + 3], 'at', string.format('%.0f', now))
end
redis.call('SET', KEYS[2], string.format('%.0f', number))
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 256)) do
  if tonumber(entry[2][10]) >= now - ARGV[1] then break end
  redis.call('XDEL', KEYS[1], entry[1])
end
return number
