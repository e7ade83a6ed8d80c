-- Moves messages of a node out of flight, each if it is still there: back to the serving end of its
-- list, the last one given served first, or into quarantine.
-- KEYS[1] in flight  KEYS[2] counts  KEYS[3] dead  KEYS[4..7] lists of steps 0 3 6 9
-- ARGV[1] ARGV[2] how many and how old the quarantine may be (ms; 0: any age)
-- ARGV[3..] push TAG LIST MESSAGE | bury TAG REASON DETAIL ID TASK TIME EVIDENCE
--           LIST: 1 for step 0 ... 4; MESSAGE '': as it is
-- Returns how many were moved.
-- include bury
for i = 3, 7 do
  local is = redis.call('TYPE', KEYS[i]).ok
  if is ~= 'none' and is ~= (i == 3 and 'stream' or 'list') then
    return {err = 'WRONGTYPE ' .. KEYS[i] .. ' is a ' .. is}
  end
end
local a, pushed, buried = 3, 0, 0
while a <= #ARGV do
  local message = redis.call('HGET', KEYS[1], ARGV[a + 1])
  if ARGV[a] == 'push' then
    if message then
      redis.call('RPUSH', KEYS[3 + tonumber(ARGV[a + 2])], ARGV[a + 3] ~= '' and ARGV[a + 3] or message)
      pushed = pushed + 1
    end
  elseif message then
    bury(KEYS[3], ARGV[a + 1], message, a + 2)
    buried = buried + 1
  end
  redis.call('HDEL', KEYS[1], ARGV[a + 1])
  a = a + (ARGV[a] == 'push' and 4 or 8)
end
if buried > 0 then trim_dead(KEYS[3], KEYS[2], ARGV[1], ARGV[2]) end
if pushed > 0 then redis.pcall('HINCRBY', KEYS[2], 'returned', pushed) end
return pushed + buried
