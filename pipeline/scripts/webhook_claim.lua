-- Takes the most overdue delivery, and lets nobody else take it until the lease is over.
-- KEYS: due. ARGV: Unix seconds, Unix seconds at which the lease is over.
-- Answers with the recording that it is of, or with nothing.
local recording = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 1)[1]
if recording then redis.call('ZADD', KEYS[1], ARGV[2], recording) end
return recording
