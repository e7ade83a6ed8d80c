-- Stores and publishes a result document, unless a SUCCESS is there.
-- KEYS[1] result  ARGV[1] seconds that it lives, 0 for ever  ARGV[2] document
if redis.call('GETRANGE', KEYS[1], 0, 63):find('^%s*{%s*"status"%s*:%s*"SUCCESS"') then return 0 end
if ARGV[1] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SETEX', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('PUBLISH', KEYS[1], ARGV[2])
return 1
