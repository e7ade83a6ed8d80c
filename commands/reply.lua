-- A reply, if whoever asked still waits for it: nobody else would ever take it away.
-- KEYS: binding of the exchange, list; ARGV: member of the binding, message. Returns 1 when it was pushed.
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
    return 0
end
redis.call('LPUSH', KEYS[2], ARGV[2])
return 1
