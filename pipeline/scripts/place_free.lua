-- Frees one of the places that a caller has, unless it has been held anew meanwhile.
-- KEYS: places. ARGV: who held it, until when.
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1])) == tonumber(ARGV[2]) then redis.call('ZREM', KEYS[1], ARGV[1]) end
