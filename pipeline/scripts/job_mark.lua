-- Notes something of a recording that is known; one that was erased meanwhile stays erased.
-- KEYS: job. ARGV: field, value.
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return 'ok'
