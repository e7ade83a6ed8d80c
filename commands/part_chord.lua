-- Chords, as Celery keeps them (docs/protocol.md, "Chords"): the parts of the members that have ended in `.j`,
-- how many there will be in `.s`, and in `.t` how many were added to that. The step that would make a chord
-- complete is not taken: it answers with what it read, and is asked for again with the chord's body and
-- `close`. Without `.s` a chord never becomes complete: it has been, or it is not known yet how large it is.
--   document ID TEXT                     KEYS result
--   part INDEX TEXT PREFIX RESULTS       KEYS .j .t .s saved    RESULTS: what stands before an id in a result's key
--   chord SIZE GROWTH SAVED              KEYS .t .s saved
--   close FAILED                         KEYS .j .t .s
-- `look` at all actions, then `complete`, then `write`: what the first two return ends the script, as an error, as -1
-- (a chord that is to be closed is no more) or as the chords that would become complete.
local chords = {
  types = {document = {false}, part = {'zset', 'string', 'string', 'string'}, chord = {'string', 'string', 'string'},
           close = {'zset', 'string', 'string'}},
  sizes = {document = 2, part = 5, chord = 4, close = 2},
}
local by_key, list, closed, growth = {}, {}, {}, {}

-- Parts that the same member had before.
local function earlier(k, a)
  local found, prefix = {}, ARGV[a + 3]
  for _, part in ipairs(redis.call('ZRANGEBYSCORE', KEYS[k], ARGV[a + 1], ARGV[a + 1])) do
    if part:sub(1, #prefix) == prefix then found[#found + 1] = part end
  end
  return found
end

-- The ids of the tasks in a result tuple, [[id, parent], children or null].
local function leaves(tuple, ids)
  if type(tuple) ~= 'table' then return ids end
  if type(tuple[2]) == 'table' then
    for _, child in ipairs(tuple[2]) do leaves(child, ids) end
  elseif type(tuple[1]) == 'table' and type(tuple[1][1]) == 'string' then
    ids[#ids + 1] = tuple[1][1]
  end
  return ids
end

-- {.j, saved header or '', {id, its document or '', ...}, {part, ...}}; the parts by score
local function read(chord)
  local all, documents, texts = {}, {}, {}
  local stored = redis.call('ZRANGE', chord.j, 0, -1, 'WITHSCORES')
  for n = 1, #stored, 2 do
    if not chord.replaced[stored[n]] then all[#all + 1] = {stored[n], tonumber(stored[n + 1])} end
  end
  for _, part in ipairs(chord.new) do all[#all + 1] = part end
  table.sort(all, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[1] < b[1]) end)
  for n, part in ipairs(all) do texts[n] = part[1] end
  local saved = redis.call('GET', chord.saved) or ''
  local is_json, header = pcall(cjson.decode, saved)
  for _, id in ipairs(is_json and type(header) == 'table' and leaves(header.result, {}) or {}) do
    documents[#documents + 1] = id
    documents[#documents + 1] = redis.call('GET', chord.results .. id) or ''
  end
  return {chord.j, saved, documents, texts}
end

local function look_at_part(k, a)
  local chord = by_key[KEYS[k]]
  if not chord then
    chord = {j = KEYS[k], t = KEYS[k + 1], s = KEYS[k + 2], saved = KEYS[k + 3], results = ARGV[a + 4],
             new = {}, replaced = {}, gone = 0}
    by_key[KEYS[k]] = chord
    list[#list + 1] = chord
  end
  for _, part in ipairs(earlier(k, a)) do
    chord.replaced[part] = true
    chord.gone = chord.gone + 1
  end
  chord.new[#chord.new + 1] = {ARGV[a + 2], tonumber(ARGV[a + 1])}
end

function chords.look(k, a)
  for n, type in ipairs(chords.types[ARGV[a]] or {}) do
    local refused = type and refuse(type, k + n - 1)
    if refused then return refused end
  end
  if ARGV[a] == 'part' then
    look_at_part(k, a)
  elseif ARGV[a] == 'chord' then
    growth[KEYS[k + 1]] = (growth[KEYS[k + 1]] or 0) + tonumber(ARGV[a + 2])
  elseif ARGV[a] == 'close' then
    if redis.call('EXISTS', KEYS[k + 2]) == 0 then return -1 end
    closed[KEYS[k + 2]] = ARGV[a + 1]
  end
end

function chords.complete()
  local found = {}
  for _, chord in ipairs(list) do
    local size = not closed[chord.s] and redis.call('GET', chord.s)
    if size then
      local wanted = tonumber(size) + tonumber(redis.call('GET', chord.t) or 0) + (growth[chord.s] or 0)
      if redis.call('ZCARD', chord.j) - chord.gone + #chord.new == wanted then found[#found + 1] = read(chord) end
    end
  end
  return #found > 0 and found or nil
end

local function live(seconds, ...)
  for _, key in ipairs(seconds ~= '0' and {...} or {}) do redis.call('EXPIRE', key, seconds) end
end

function chords.write(k, a, seconds)
  local action = ARGV[a]
  if action == 'document' then
    store(KEYS[k], ARGV[a + 1], seconds)
  elseif action == 'part' and (chords.closes_later or closed[KEYS[k + 2]] ~= '0') then
    for _, part in ipairs(earlier(k, a)) do redis.call('ZREM', KEYS[k], part) end
    redis.call('ZADD', KEYS[k], ARGV[a + 1], ARGV[a + 2])
    live(seconds, KEYS[k], KEYS[k + 1], KEYS[k + 2])
  elseif action == 'chord' then
    if ARGV[a + 1] ~= '0' then redis.call('SET', KEYS[k + 1], ARGV[a + 1]) end
    if ARGV[a + 2] ~= '0' then redis.call('INCRBY', KEYS[k], ARGV[a + 2]) end
    if ARGV[a + 3] ~= '' then redis.call('SET', KEYS[k + 2], ARGV[a + 3]) end
    live(seconds, KEYS[k], KEYS[k + 1], KEYS[k + 2])
  elseif action == 'close' and not chords.closes_later then
    redis.call('DEL', KEYS[k + 1], KEYS[k + 2])
    if ARGV[a + 1] == '0' then redis.call('DEL', KEYS[k]) end
  end
end
