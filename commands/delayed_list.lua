-- Shows a part of the delayed set, what is due first in front.
-- KEYS[1] delayed  ARGV[1] cursor of the part before, '' for the first  ARGV[2] ARGV[3] due from, due until
-- ARGV[4] at most so many are looked at  ARGV[5] a text that stands in each that is shown, or ''
-- Returns a cursor, '' after the last part, then due, member, due, member ...
-- A cursor is the latest due time when the first part was asked for, and due time and member looked at last.
-- include refuse
local refused = refuse('zset', 1)
if refused then return refused end

local function is_behind(a, b) -- as Redis orders members, byte by byte; "<" would ask the locale
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x > y end
  end
  return #a > #b
end
local function below(due) return redis.call('ZCOUNT', KEYS[1], '-inf', due) end

local latest, due, last = ARGV[1]:match('^(%S+) (%S+) (.*)$')
local at
if latest then
  -- The last one may have gone; where it would stand is found by halving among its equals.
  local beyond = below(due)
  at = below('(' .. due)
  while at < beyond do
    local middle = math.floor((at + beyond) / 2)
    if is_behind(redis.call('ZRANGE', KEYS[1], middle, middle)[1], last) then
      beyond = middle
    else
      at = middle + 1
    end
  end
else
  latest = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[3], ARGV[2], 'WITHSCORES', 'LIMIT', 0, 1)[2]
  if not latest then return {''} end
  at = below('(' .. ARGV[2])
end
local stop, left, bytes = below(latest), tonumber(ARGV[4]), 0
local out = {''}
while at < stop do
  -- In slices, so that a few huge messages do not become one endless part.
  if left <= 0 or bytes >= 8388608 then
    out[1] = latest .. ' ' .. due .. ' ' .. last
    return out
  end
  local want = math.min(left, stop - at, 64)
  local items = redis.call('ZRANGE', KEYS[1], at, at + want - 1, 'WITHSCORES')
  for i = 1, #items, 2 do
    last, due = items[i], items[i + 1]
    bytes = bytes + #last
    if ARGV[5] == '' or last:find(ARGV[5], 1, true) then
      out[#out + 1] = due
      out[#out + 1] = last
    end
  end
  at, left = at + want, left - want
end
return out
