-- Moves what is due from the delayed set to the serving end of its list, the earliest served first.
-- KEYS[1] delayed  KEYS[2..5] lists of steps 0 3 6 9  KEYS[6] counts
-- ARGV[1] now, ms  ARGV[2] at most so many
-- A member is "<node>/<n>.<step>\n" and the message; what is not like that counts as step 0.
-- Returns how many were moved, when the next is due (ms; 0: not known), and, when a list that is none
-- keeps its messages here, words for that. It holds up no other.
local lists = {['0'] = KEYS[2], ['3'] = KEYS[3], ['6'] = KEYS[4], ['9'] = KEYS[5]}
local max, seen, due, to, from, looked, refused = tonumber(ARGV[2]), 0, {}, {}, {}, {}, nil

local function list_of(member, head)
  local step = head and member:sub(1, head - 1):match('%.(%d)$')
  local list = lists[step] or KEYS[2]
  looked[list] = looked[list] or redis.call('TYPE', list).ok
  if looked[list] == 'list' or looked[list] == 'none' then return list end
  refused = 'WRONGTYPE ' .. list .. ' is a ' .. looked[list] .. ' and no list'
end

local limit = 4 * max -- of those looked at, since all may be refused
repeat
  local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', seen, max - #due)
  for _, member in ipairs(members) do
    local head = member:find('\n', 1, true)
    local list = list_of(member, head)
    seen = seen + 1
    if list then due[#due + 1], to[#due + 1], from[#due + 1] = member, list, (head or 0) + 1 end
  end
until not refused or #members == 0 or #due == max or seen >= limit
for i = #due, 1, -1 do
  redis.call('RPUSH', to[i], due[i]:sub(from[i]))
  if refused then redis.call('ZREM', KEYS[1], due[i]) end
end
if #due > 0 then
  if not refused then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, #due - 1) end
  redis.pcall('HINCRBY', KEYS[6], 'returned', #due)
end
local kept = seen - #due
local next = redis.call('ZRANGE', KEYS[1], kept, kept, 'WITHSCORES')[2]
if not next or seen >= limit then return {#due, 0, refused} end
return {#due, math.ceil(tonumber(next)), refused}
