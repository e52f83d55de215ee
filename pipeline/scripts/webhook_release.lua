-- Ends a lease, unless it was over before and somebody else has one, or the recording has something newer to tell.
-- KEYS: due. ARGV: recording, Unix seconds at which the lease is over, when it is due again (empty: never).
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 'taken' end
if ARGV[3] == '' then redis.call('ZREM', KEYS[1], ARGV[1]) else redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1]) end
return 'ok'
