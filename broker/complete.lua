-- Ends a claim: everything here happens, or, when the tag is gone, nothing.
-- KEYS[1] in flight  KEYS[2] result (not looked at without a document)  KEYS[3..] one for each action
-- ARGV[1] tag, '' when it was acknowledged before (then there is nothing to bury)
-- ARGV[2] seconds that the result lives, 0 for ever  ARGV[3] document or ''
-- ARGV[4..] actions: push MESSAGE | park DUE MEMBER | bury MAX REASON DETAIL ID TASK TIME
-- Returns 1, or 0 when the claim is not ours any more.
if #ARGV > 3 then
  local message = ARGV[1] == '' or redis.call('HGET', KEYS[1], ARGV[1])
  if not message then return 0 end
  -- A key of another type refuses its action. Nothing can be taken back here, so look at all first.
  local types, sizes = {push = 'list', park = 'zset', bury = 'stream'}, {push = 2, park = 3, bury = 7}
  local a, k = 4, 3
  while a <= #ARGV do
    local is = redis.call('TYPE', KEYS[k]).ok
    if is ~= 'none' and is ~= types[ARGV[a]] then
      return {err = 'WRONGTYPE ' .. KEYS[k] .. ' is a ' .. is .. ' and no ' .. types[ARGV[a]]}
    end
    a, k = a + sizes[ARGV[a]], k + 1
  end
  a, k = 4, 3
  while a <= #ARGV do
    local action = ARGV[a]
    if action == 'push' then
      redis.call('LPUSH', KEYS[k], ARGV[a + 1])
    elseif action == 'park' then
      redis.call('ZADD', KEYS[k], ARGV[a + 1], ARGV[a + 2])
    else
      redis.call('XADD', KEYS[k], 'MAXLEN', '~', ARGV[a + 1], '*', 'message', message,
        'reason', ARGV[a + 2], 'detail', ARGV[a + 3], 'task_id', ARGV[a + 4], 'task', ARGV[a + 5],
        'time', ARGV[a + 6])
    end
    a, k = a + sizes[action], k + 1
  end
end
if ARGV[1] ~= '' and redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
if ARGV[3] == '' then return 1 end
-- One SET that gives the old value costs less than a look and a SET. It is refused for a value of
-- another type, which then has to go; a SUCCESS that it covered is put back.
local lives = ARGV[2] == '0' and {} or {'EX', ARGV[2]}
local old = redis.pcall('SET', KEYS[2], ARGV[3], 'GET', unpack(lives))
if type(old) == 'table' then
  redis.call('SET', KEYS[2], ARGV[3], unpack(lives))
elseif old and old:find('^%s*{%s*"status"%s*:%s*"SUCCESS"') then
  redis.call('SET', KEYS[2], old, 'KEEPTTL')
  return 1
end
redis.call('PUBLISH', KEYS[2], ARGV[3])
return 1
