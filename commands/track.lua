-- Notes an id in the ledger while its claim is ours: behind the end nobody would strike it out.
-- KEYS[1] in flight  KEYS[2] ledger  ARGV[1] tag  ARGV[2] id  ARGV[3] node
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) end
