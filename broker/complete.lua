-- Ends a claim: everything here happens, or, when the tag is gone, nothing.
-- KEYS[1] in flight  KEYS[2] counts  KEYS[3] result (not looked at without a document)
-- KEYS[4..] two for a push: the list and the counts of its queue; one for each other action
-- ARGV[1] tag, '' when it was acknowledged before (then there is nothing to bury)
-- ARGV[2] seconds that the result lives, 0 for ever  ARGV[3] document or ''
-- ARGV[4] what the call came to, as a field of the counts; '' when it goes on or is buried
-- ARGV[5..] actions: push MESSAGE | again MESSAGE | park DUE MEMBER
--                    | bury MAX AGE REASON DETAIL ID TASK TIME EVIDENCE | forget ID (in the ledger)
--                    | unless MEMBER (it is parked: then nothing is done; a final document is spared)
-- Returns 1, or 0 when the claim is not ours any more; of 'unless' 2 when what is there was spared.
-- include bury
-- include store
-- include refuse
local was_acked, spares_final = ARGV[1] == '', false
if #ARGV > 4 then
  local message = was_acked or redis.call('HGET', KEYS[1], ARGV[1])
  if not message then return 0 end
  -- A key of another type refuses its action. Nothing can be taken back here, so look at all first.
  local types = {push = 'list', again = 'list', park = 'zset', bury = 'stream', unless = 'zset'}
  local sizes = {push = 2, again = 2, park = 3, bury = 9, forget = 2, unless = 2}
  local keys = {push = 2, again = 1, park = 1, bury = 1, forget = 1, unless = 1}
  local a, k = 5, 4
  while a <= #ARGV do
    local wanted = types[ARGV[a]]
    if ARGV[a] == 'unless' and ARGV[a + 1] == '' then wanted = nil end -- nothing to look for
    local refused = wanted and refuse(wanted, k)
    if refused then return refused end
    if ARGV[a] == 'unless' then
      if wanted and redis.call('ZSCORE', KEYS[k], ARGV[a + 1]) then return 2 end
      spares_final = true
    end
    a, k = a + sizes[ARGV[a]], k + keys[ARGV[a]]
  end
  a, k = 5, 4
  while a <= #ARGV do
    local action = ARGV[a]
    if action == 'push' then
      redis.call('LPUSH', KEYS[k], ARGV[a + 1])
      redis.pcall('HINCRBY', KEYS[k + 1], 'published', 1)
    elseif action == 'again' then
      redis.call('LPUSH', KEYS[k], ARGV[a + 1])
      redis.pcall('HINCRBY', KEYS[2], was_acked and 'published' or 'returned', 1)
    elseif action == 'park' then
      redis.call('ZADD', KEYS[k], ARGV[a + 1], ARGV[a + 2])
      if was_acked then
        redis.pcall('HINCRBY', KEYS[2], 'published', 1)
        redis.pcall('HINCRBY', KEYS[2], 'claimed', 1)
      end
    elseif action == 'forget' then
      redis.pcall('HDEL', KEYS[k], ARGV[a + 1])
    elseif action == 'bury' then
      bury(KEYS[k], ARGV[1], message, a + 3)
      trim_dead(KEYS[k], KEYS[2], ARGV[a + 1], ARGV[a + 2])
    end
    a, k = a + sizes[action], k + keys[action]
  end
end
if not was_acked then
  if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
  if ARGV[4] ~= '' then redis.pcall('HINCRBY', KEYS[2], ARGV[4], 1) end
end
local is_stored = ARGV[3] == '' or store(KEYS[3], ARGV[3], ARGV[2], spares_final) == 1
return spares_final and not is_stored and 2 or 1
