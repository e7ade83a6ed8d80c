-- Shows a part of what stands in one key, whatever its type: messages, or the fields of the ledger.
-- KEYS[1] key  ARGV[1] where to go on: '' first, then as returned  ARGV[2] how many, about  ARGV[3] '1': fields
-- Returns where to go on ('' at the end), then texts.
local is, cursor, count = redis.call('TYPE', KEYS[1]).ok, ARGV[1], tonumber(ARGV[2])
local out = {''}
if is == 'list' then
  local from = tonumber(cursor) or 0
  for _, message in ipairs(redis.call('LRANGE', KEYS[1], from, from + count - 1)) do out[#out + 1] = message end
  if #out > count then out[1] = tostring(from + count) end
elseif is == 'stream' then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], cursor == '' and '-' or '(' .. cursor, '+', 'COUNT', count)) do
    out[1] = entry[1]
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'message' then out[#out + 1] = entry[2][i + 1] end
    end
  end
elseif is == 'hash' or is == 'zset' then
  local command = is == 'hash' and 'HSCAN' or 'ZSCAN'
  local part = redis.call(command, KEYS[1], cursor == '' and '0' or cursor, 'COUNT', count)
  if part[1] ~= '0' then out[1] = part[1] end
  for i = 1, #part[2], 2 do
    local field, value = part[2][i], part[2][i + 1]
    -- A member of the delayed set is "<node>/<tag>", a line feed, the message.
    out[#out + 1] = is == 'zset' and (field:match('^[^\n]*\n(.*)$') or field) or ARGV[3] == '1' and field or value
  end
end
return out
