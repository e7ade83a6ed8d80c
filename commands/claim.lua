-- Moves waiting messages into the hash of those in flight, under tags "<n>.<step>".
-- KEYS[1] in flight  KEYS[2] nodes  KEYS[3] counts  KEYS[4] id of the newest revocation
-- KEYS[5..8] lists of steps 0 3 6 9  KEYS[9..12] what is staged of each, or not given
-- ARGV[1] node  ARGV[2] room  ARGV[3] n of the first tag
-- ARGV[4..] first n and room of claims whose answer never came: what they took is handed out again
-- Returns 0 when the node has no lease, or has left; else the newest revocation's id or '', then tag, message, tag ...
-- include refuse
local lease = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not lease or tonumber(lease) <= 0 then return 0 end
local steps = {'0', '3', '6', '9'}
local room, n, bytes, taken = tonumber(ARGV[2]), tonumber(ARGV[3]), 0, 0
local out = {redis.call('GET', KEYS[4]) or ''}
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
local function take(at, step)
  local key = KEYS[at]
  while room > 0 and bytes < 8388608 do
    local want = math.min(room, 16)
    local messages = redis.pcall('RPOP', key, want)
    if not messages then return end
    if messages.err then
      refused = refuse('list', at) or messages
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
    taken = taken + #messages
    if #messages < want then return end
  end
end

for i = 4, #ARGV, 2 do recover(tonumber(ARGV[i]), tonumber(ARGV[i + 1])) end
for i = 9, #KEYS do take(i, steps[i - 8]) end
for i = 5, 8 do take(i, steps[i - 4]) end
if refused and #out == 1 then return refused end
if taken > 0 then redis.pcall('HINCRBY', KEYS[3], 'claimed', taken) end
return out
