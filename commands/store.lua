-- Stores and publishes a result document, unless a SUCCESS is there.
-- KEYS[1] result  KEYS[2] in flight, or not given
-- ARGV[1] seconds that it lives, 0 for ever  ARGV[2] document
-- ARGV[3] given for a state on the way: the tag that must stand in KEYS[2]; without KEYS[2] (the
--         results live elsewhere) any final state is spared instead
-- Returns 1, or 0 when it is not stored.
-- include store
if KEYS[2] and redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then return 0 end
return store(KEYS[1], ARGV[2], ARGV[1], ARGV[3] and not KEYS[2])
