-- Stores and publishes a result document for `seconds`, '0' for ever. Returns 0 when a SUCCESS is there,
-- or, with `spares_final`, a FAILURE or a REVOKED.
-- One SET that gives the old value costs less than a look and a SET. It is refused for a value of
-- another type, which then has to go; a document that it must not cover is put back.
local function store(key, document, seconds, spares_final)
  local lives = seconds == '0' and {} or {'EX', seconds}
  local old = redis.pcall('SET', key, document, 'GET', unpack(lives))
  if type(old) == 'table' then
    redis.call('SET', key, document, unpack(lives))
  elseif old then
    local state = old:match('^%s*{%s*"status"%s*:%s*"(%u+)"')
    if state == 'SUCCESS' or (spares_final and (state == 'FAILURE' or state == 'REVOKED')) then
      redis.call('SET', key, old, 'KEEPTTL')
      return 0
    end
  end
  redis.pcall('PUBLISH', key, document) -- who waits looks again without it
  return 1
end
