-- Moves waiting messages into the hash of those in flight, under tags "<n>.<step>".
-- KEYS[1] in flight  KEYS[2..5] lists of steps 0 3 6 9  KEYS[6..9] what is staged of each, or not given
-- ARGV[1] room  ARGV[2] n of the first tag
-- ARGV[3..] first n and room of claims whose answer never came: what they took is handed out again
-- Returns tag, message, tag, message ...
local steps = {'0', '3', '6', '9'}
local room, n, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
local out = {}
local refused -- by a list that is none; told when there is nothing else to tell

local function hand_out(tag, message)
  out[#out + 1] = tag
  out[#out + 1] = message
  room = room - 1
  bytes = bytes + #message
end

-- Tags are given out in order: where the first is missing there are none.
local function recover(first, count)
  local found = true
  for at = first, first + count - 1 do
    if not found or room == 0 then return end
    found = false
    for _, step in ipairs(steps) do
      local tag = string.format('%.0f.%s', at, step)
      local message = redis.call('HGET', KEYS[1], tag)
      if message then
        hand_out(tag, message)
        found = true
      end
    end
  end
end

-- In slices, so that a few huge messages do not become one endless reply.
local function take(key, step)
  while room > 0 and bytes < 8388608 do
    local want = math.min(room, 16)
    local messages = redis.pcall('RPOP', key, want)
    if not messages then return end
    if messages.err then
      refused = messages
      return
    end
    local fields = {}
    for _, message in ipairs(messages) do
      local tag = string.format('%.0f.%s', n, step)
      n = n + 1
      fields[#fields + 1] = tag
      fields[#fields + 1] = message
      hand_out(tag, message)
    end
    local set = redis.pcall('HSET', KEYS[1], unpack(fields))
    if type(set) == 'table' and set.err then
      for i = #messages, 1, -1 do redis.call('RPUSH', key, messages[i]) end
      error(set.err)
    end
    if #messages < want then return end
  end
end

for i = 3, #ARGV, 2 do recover(tonumber(ARGV[i]), tonumber(ARGV[i + 1])) end
for i = 6, #KEYS do take(KEYS[i], steps[i - 5]) end
for i = 2, 5 do take(KEYS[i], steps[i - 1]) end
if refused and #out == 0 then return refused end
return out
