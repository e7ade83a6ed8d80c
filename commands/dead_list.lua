-- Shows a part of the quarantine, the oldest first.
-- KEYS[1] dead  ARGV[1] cursor of the part before; for the first '', or the entry behind which it begins
-- ARGV[2] at most so many  ARGV[3] '1': with the messages
-- Returns a cursor, '' after the last part, then one list for each: its id, reason, detail, task id,
-- task, time, evidence, message. A cursor is the newest entry at the time of the first part, and the last shown.
-- include refuse
local refused = refuse('stream', 1)
if refused then return refused end
local newest, last = ARGV[1]:match('^(%S+) (%S+)$')
if not newest then
  newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  if not newest then return {''} end
  newest = newest[1]
  if ARGV[1] ~= '' then last = ARGV[1] end
end
local names = {'reason', 'detail', 'task_id', 'task', 'time', 'evidence', 'message'}
local out, left, bytes = {''}, tonumber(ARGV[2]), 0
while true do
  -- In slices, so that a few huge messages do not become one endless part.
  if left <= 0 or bytes >= 8388608 then
    out[1] = newest .. ' ' .. last
    return out
  end
  local want = math.min(left, 16)
  local entries = redis.call('XRANGE', KEYS[1], last and '(' .. last or '-', newest, 'COUNT', want)
  for _, entry in ipairs(entries) do
    local fields, row = {}, {entry[1]}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    bytes = bytes + #(fields.message or '')
    if ARGV[3] ~= '1' then fields.message = nil end
    for i, name in ipairs(names) do row[i + 1] = fields[name] or '' end
    out[#out + 1] = row
    last = entry[1]
  end
  if #entries < want then return out end
  left = left - want
end
