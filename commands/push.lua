-- Pushes messages in order, and counts them.
-- KEYS[1] list  KEYS[2] counts  ARGV[1..] messages
-- Returns the length of the list.
-- include refuse
local length = redis.pcall('LPUSH', KEYS[1], unpack(ARGV))
if type(length) == 'table' then return refuse('list', 1) or length end
redis.pcall('HINCRBY', KEYS[2], 'published', #ARGV)
return length
