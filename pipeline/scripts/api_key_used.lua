-- Notes when an API key was last used, so long as nobody has revoked it meanwhile.
-- KEYS: key. ARGV: Unix seconds.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'unknown' end
redis.call('HSET', KEYS[1], 'last_used_at', ARGV[1])
return 'ok'
