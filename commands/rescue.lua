-- Moves messages of a node out of flight, each if it is still there: back to the serving end of its
-- list, the last one given served first, or into quarantine, with a result that says so.
-- KEYS[1] in flight  KEYS[2] counts  KEYS[3] dead  KEYS[4..7] lists of steps 0 3 6 9
-- KEYS[8..] results, one for each DOCUMENT
-- ARGV[1] ARGV[2] how many and how old the quarantine may be (ms; 0: any age)
-- ARGV[3] seconds that a result lives, 0 for ever
-- ARGV[4..] push TAG LIST MESSAGE | bury TAG REASON DETAIL ID TASK TIME EVIDENCE DOCUMENT
--           LIST: 1 for step 0 ... 4; MESSAGE '': as it is; DOCUMENT '': none
-- Returns the numbers of those that were there, 1 for the first.
-- include bury
-- include store
-- include refuse
local refused = refuse('hash', 1) or refuse('stream', 3) or refuse('list', 4, 7)
if refused then return refused end
local a, number, result, pushed, moved = 4, 0, 7, 0, {}
while a <= #ARGV do
  local is_push, message = ARGV[a] == 'push', redis.call('HGET', KEYS[1], ARGV[a + 1])
  local document = is_push and '' or ARGV[a + 8]
  number = number + 1
  if document ~= '' then result = result + 1 end
  if message then
    moved[#moved + 1] = number
    if is_push then
      redis.call('RPUSH', KEYS[3 + tonumber(ARGV[a + 2])], ARGV[a + 3] ~= '' and ARGV[a + 3] or message)
      pushed = pushed + 1
    else
      bury(KEYS[3], ARGV[a + 1], message, a + 2)
    end
    redis.call('HDEL', KEYS[1], ARGV[a + 1])
    if document ~= '' then store(KEYS[result], document, ARGV[3]) end
  end
  a = a + (is_push and 4 or 9)
end
if #moved > pushed then trim_dead(KEYS[3], KEYS[2], ARGV[1], ARGV[2]) end
if pushed > 0 then redis.pcall('HINCRBY', KEYS[2], 'returned', pushed) end
return moved
