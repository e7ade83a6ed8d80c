-- Stores and publishes a result document, unless a SUCCESS is there.
-- KEYS[1] result  ARGV[1] seconds that it lives, 0 for ever  ARGV[2] document
-- As in complete.lua: a SUCCESS that was covered is put back, a value of another type goes.
local lives = ARGV[1] == '0' and {} or {'EX', ARGV[1]}
local old = redis.pcall('SET', KEYS[1], ARGV[2], 'GET', unpack(lives))
if type(old) == 'table' then
  redis.call('SET', KEYS[1], ARGV[2], unpack(lives))
elseif old and old:find('^%s*{%s*"status"%s*:%s*"SUCCESS"') then
  redis.call('SET', KEYS[1], old, 'KEEPTTL')
  return 0
end
redis.call('PUBLISH', KEYS[1], ARGV[2])
return 1
