-- Puts the message of a claim into quarantine, with ARGV[at..]: REASON DETAIL ID TASK TIME EVIDENCE.
local function bury(dead, tag, message, at)
  redis.call('XADD', dead, '*', 'message', message, 'reason', ARGV[at], 'detail', ARGV[at + 1],
    'task_id', ARGV[at + 2], 'task', ARGV[at + 3], 'time', ARGV[at + 4], 'evidence', ARGV[at + 5],
    'step', tag:match('%.(%d)$') or '0')
end
-- Drops the oldest: those above `max`, and with `age` (ms) other than 0 those that are older.
local function trim_dead(dead, counts, max, age)
  local dropped = redis.call('XTRIM', dead, 'MAXLEN', '~', max)
  if age ~= '0' then
    local oldest = redis.call('TIME')[1] * 1000 - age
    dropped = dropped + redis.call('XTRIM', dead, 'MINID', '~', string.format('%.0f', oldest))
  end
  if dropped > 0 then redis.pcall('HINCRBY', counts, 'dropped', dropped) end
end
