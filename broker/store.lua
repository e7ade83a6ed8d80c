-- Stores and publishes a result document, unless a SUCCESS is there.
-- KEYS[1] result  ARGV[1] seconds that it lives, 0 for ever  ARGV[2] document
-- include store
return store(KEYS[1], ARGV[2], ARGV[1])
