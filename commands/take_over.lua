-- Gives a node up whose lease is over (from here on it can claim nothing and renew nothing), puts what
-- is staged for it back, and shows what it has in flight, the newest first.
-- KEYS[1] nodes  KEYS[2] its in flight  KEYS[3..6] lists of steps 0 3 6 9  KEYS[7..10] what is staged of each
-- ARGV[1] node  ARGV[2] at most so many  ARGV[3] ms that a node is remembered with nothing left of it
-- Returns 0 when it has a lease; else how many were staged, then tag, message, tag ...
-- include refuse
local refused = refuse('zset', 1) or refuse('hash', 2) or refuse('list', 3, 10)
if refused then return refused end
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
lease = lease and tonumber(lease) or 0
if lease > now then return 0 end
if lease >= 0 then
  lease = -now
  redis.call('ZADD', KEYS[1], string.format('%.0f', lease), ARGV[1])
end
local out, left = {0}, tonumber(ARGV[2])
for i = 3, 6 do
  while out[1] < left and redis.call('LMOVE', KEYS[i + 4], KEYS[i], 'LEFT', 'RIGHT') do out[1] = out[1] + 1 end
end
local tags = redis.call('HKEYS', KEYS[2])
if #tags == 0 and out[1] == 0 and -lease < now - ARGV[3] then redis.call('ZREM', KEYS[1], ARGV[1]) end
table.sort(tags, function(a, b) return (tonumber(a:match('^%d+')) or 0) > (tonumber(b:match('^%d+')) or 0) end)
local bytes = 0
for i = 1, math.min(#tags, left) do
  local message = redis.call('HGET', KEYS[2], tags[i])
  out[#out + 1] = tags[i]
  out[#out + 1] = message
  bytes = bytes + #message
  if bytes > 8388608 then break end
end
return out
