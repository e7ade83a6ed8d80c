-- Pushes messages in order, and counts them.
-- KEYS[1] list  KEYS[2] counts  ARGV[1..] messages
-- Returns the length of the list.
local length = redis.call('LPUSH', KEYS[1], unpack(ARGV))
redis.pcall('HINCRBY', KEYS[2], 'published', #ARGV)
return length
