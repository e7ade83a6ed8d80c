-- The steps of complete.lua and complete_canvas.lua.
local was_acked, spares_final = ARGV[1] == '', false
if #ARGV > 4 then
  local message = was_acked or redis.call('HGET', KEYS[1], ARGV[1])
  if not message then return 0 end
  -- A key of another type refuses its action. Nothing can be taken back here, so look at all first.
  local types = {push = 'list', again = 'list', park = 'zset', bury = 'stream', unless = 'zset'}
  local sizes = {push = 2, again = 2, park = 3, bury = 9, forget = 2, unless = 2}
  local keys = {push = 2, again = 1, park = 1, bury = 1, forget = 1, unless = 1}
  local a, k = 5, 4
  while a <= #ARGV do
    local wanted = types[ARGV[a]]
    if ARGV[a] == 'unless' and ARGV[a + 1] == '' then wanted = nil end -- nothing to look for
    local refused = wanted and refuse(wanted, k)
    if refused then return refused end
    if ARGV[a] == 'unless' then
      if wanted and redis.call('ZSCORE', KEYS[k], ARGV[a + 1]) then return 2 end
      spares_final = true
    end
    local reason = chords and chords.look(k, a)
    if reason then return reason end
    a, k = a + (sizes[ARGV[a]] or chords.sizes[ARGV[a]]), k + (keys[ARGV[a]] or #chords.types[ARGV[a]])
  end
  local complete = chords and chords.complete()
  if complete then return complete end
  a, k = 5, 4
  while a <= #ARGV do
    local action = ARGV[a]
    if action == 'push' then
      redis.call('LPUSH', KEYS[k], ARGV[a + 1])
      redis.pcall('HINCRBY', KEYS[k + 1], 'published', 1)
    elseif action == 'again' then
      redis.call('LPUSH', KEYS[k], ARGV[a + 1])
      redis.pcall('HINCRBY', KEYS[2], was_acked and 'published' or 'returned', 1)
    elseif action == 'park' then
      redis.call('ZADD', KEYS[k], ARGV[a + 1], ARGV[a + 2])
      if was_acked then
        redis.pcall('HINCRBY', KEYS[2], 'published', 1)
        redis.pcall('HINCRBY', KEYS[2], 'claimed', 1)
      end
    elseif action == 'forget' then
      redis.pcall('HDEL', KEYS[k], ARGV[a + 1])
    elseif action == 'bury' then
      bury(KEYS[k], ARGV[1], message, a + 3)
      trim_dead(KEYS[k], KEYS[2], ARGV[a + 1], ARGV[a + 2])
    elseif chords then
      chords.write(k, a, ARGV[2])
    end
    a, k = a + (sizes[action] or chords.sizes[action]), k + (keys[action] or #chords.types[action])
  end
end
if not was_acked then
  if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
  if ARGV[4] ~= '' then redis.pcall('HINCRBY', KEYS[2], ARGV[4], 1) end
end
local is_stored = ARGV[3] == '' or store(KEYS[3], ARGV[3], ARGV[2], spares_final) == 1
return spares_final and not is_stored and 2 or 1
