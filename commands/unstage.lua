-- Puts what is staged for a node back to the serving end of its lists, in the order it had.
-- KEYS[1..4] lists of steps 0 3 6 9  KEYS[5..8] what is staged of each
-- Returns how many.
-- include refuse
local refused = refuse('list', 1, 8)
if refused then return refused end
local count = 0
for i = 1, 4 do
  while redis.call('LMOVE', KEYS[i + 4], KEYS[i], 'LEFT', 'RIGHT') do count = count + 1 end
end
return count
