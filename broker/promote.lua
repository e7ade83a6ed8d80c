-- Moves what is due from the delayed set to the serving end of its list, the earliest served first.
-- KEYS[1] delayed  KEYS[2..5] lists of steps 0 3 6 9  KEYS[6] counts
-- ARGV[1] now, ms  ARGV[2] at most so many
-- A member is "<node>/<n>.<step>\n" and the message; what is not like that counts as step 0.
-- Returns how many were moved, and when the next is due (ms; 0: none is left).
local lists = {['0'] = KEYS[2], ['3'] = KEYS[3], ['6'] = KEYS[4], ['9'] = KEYS[5]}
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
-- A list that is none refuses its message, when others could not be taken back: look at all first.
local to, from, looked = {}, {}, {}
for i = 1, #due do
  local head = due[i]:find('\n', 1, true)
  local step = head and due[i]:sub(1, head - 1):match('%.(%d)$')
  to[i], from[i] = lists[step] or KEYS[2], (head or 0) + 1
  local is = looked[to[i]] or redis.call('TYPE', to[i]).ok
  if is ~= 'list' and is ~= 'none' then
    return {err = 'WRONGTYPE ' .. to[i] .. ' is a ' .. is .. ' and no list'}
  end
  looked[to[i]] = is
end
for i = #due, 1, -1 do redis.call('RPUSH', to[i], due[i]:sub(from[i])) end
if #due > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, #due - 1)
  redis.pcall('HINCRBY', KEYS[6], 'returned', #due)
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {#due, next[2] and math.ceil(tonumber(next[2])) or 0}
