-- An error that names the first of KEYS[first..last] that is there and no `type`; nil when all are good. A
-- script is not undone, so it looks before its first write.
local function refuse(type, first, last)
  for i = first, last or first do
    local is = redis.call('TYPE', KEYS[i]).ok
    if is ~= 'none' and is ~= type then return {err = 'WRONGTYPE ' .. KEYS[i] .. ' is a ' .. is .. ' and no ' .. type} end
  end
end
