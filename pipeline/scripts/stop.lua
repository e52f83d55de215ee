-- Lets nothing more be added to a session; an erased one stays erased.
-- KEYS: session. ARGV: Unix seconds, the connection that must still be the recorder (empty: whoever it is).
if redis.call('EXISTS', KEYS[1]) == 0 then return 'unknown' end
if redis.call('HEXISTS', KEYS[1], 'stopped') == 1 then return 'ok' end
if ARGV[2] ~= '' and redis.call('HGET', KEYS[1], 'connection') ~= ARGV[2] then return 'taken' end
redis.call('HSET', KEYS[1], 'stopped', ARGV[1])
return 'ok'
