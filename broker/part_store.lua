-- Stores and publishes a result document for `seconds`, '0' for ever. Returns 0 when a SUCCESS is there.
-- One SET that gives the old value costs less than a look and a SET. It is refused for a value of
-- another type, which then has to go; a SUCCESS that it covered is put back.
local function store(key, document, seconds)
  local lives = seconds == '0' and {} or {'EX', seconds}
  local old = redis.pcall('SET', key, document, 'GET', unpack(lives))
  if type(old) == 'table' then
    redis.call('SET', key, document, unpack(lives))
  elseif old and old:find('^%s*{%s*"status"%s*:%s*"SUCCESS"') then
    redis.call('SET', key, old, 'KEEPTTL')
    return 0
  end
  redis.pcall('PUBLISH', key, document) -- who waits looks again without it
  return 1
end
