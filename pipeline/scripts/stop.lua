-- Lets nothing more be added to a session; an erased one stays erased.
-- KEYS: session. ARGV: Unix seconds.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'unknown' end
redis.call('HSETNX', KEYS[1], 'stopped', ARGV[1])
return 'ok'
