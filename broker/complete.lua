-- Ends a claim: everything here happens, or, when the tag is gone, nothing.
-- KEYS[1] in flight  KEYS[2] result (not looked at without a document)  KEYS[3..] one for each action
-- ARGV[1] tag, or '' when it is acknowledged already  ARGV[2] seconds that the result lives, 0 for ever  ARGV[3] document or ''
-- ARGV[4..] actions: push MESSAGE | park DUE MEMBER | bury MAX REASON DETAIL ID TASK TIME
-- Returns 1, or 0 when the claim is not ours any more.
if ARGV[1] ~= '' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local is_final = ARGV[3] ~= '' and
  redis.call('GETRANGE', KEYS[2], 0, 63):find('^%s*{%s*"status"%s*:%s*"SUCCESS"')
-- What can be refused (a key of another type) stands before what cannot, so that nothing is half done.
local a, k = 4, 3
while a <= #ARGV do
  local action = ARGV[a]
  if action == 'push' then
    redis.call('LPUSH', KEYS[k], ARGV[a + 1])
    a = a + 2
  elseif action == 'park' then
    redis.call('ZADD', KEYS[k], ARGV[a + 1], ARGV[a + 2])
    a = a + 3
  else
    redis.call('XADD', KEYS[k], 'MAXLEN', '~', ARGV[a + 1], '*',
      'message', redis.call('HGET', KEYS[1], ARGV[1]), 'reason', ARGV[a + 2], 'detail', ARGV[a + 3],
      'task_id', ARGV[a + 4], 'task', ARGV[a + 5], 'time', ARGV[a + 6])
    a = a + 7
  end
  k = k + 1
end
if ARGV[3] ~= '' and not is_final then
  if ARGV[2] == '0' then
    redis.call('SET', KEYS[2], ARGV[3])
  else
    redis.call('SETEX', KEYS[2], ARGV[2], ARGV[3])
  end
  redis.call('PUBLISH', KEYS[2], ARGV[3])
end
if ARGV[1] ~= '' then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
