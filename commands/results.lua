-- What complete_canvas.lua does among the results, for results on a server of their own.
-- KEYS[1] result  KEYS[2..] those of the actions
-- ARGV[1] seconds that results live, 0 for ever  ARGV[2] document or ''
-- ARGV[3] not '': a final document is spared, whatever it says  ARGV[4..] actions of part_chord.lua
-- Returns 1, 0 when a final document was spared, or what else part_chord.lua has to say; then nothing was done.
-- include store
-- include refuse
-- include chord
chords.closes_later = true -- when the body has been pushed
local a, k = 4, 2
while a <= #ARGV do
  local reason = chords.look(k, a)
  if reason then return reason end
  a, k = a + chords.sizes[ARGV[a]], k + #chords.types[ARGV[a]]
end
local complete = chords.complete()
if complete then return complete end
local is_stored = ARGV[2] == '' or store(KEYS[1], ARGV[2], ARGV[1], ARGV[3] ~= '') == 1
a, k = 4, 2
while a <= #ARGV do
  chords.write(k, a, ARGV[1])
  a, k = a + chords.sizes[ARGV[a]], k + #chords.types[ARGV[a]]
end
return is_stored and 1 or 0
