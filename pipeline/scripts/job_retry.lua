-- Sends a recording that was given up to the queue again.
-- KEYS: job. ARGV: milliseconds to live. Returns 'ok', or the state in which it cannot be.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'unknown' end
if redis.call('HGET', KEYS[1], 'retryable') ~= '1' then return state end
redis.call('HSET', KEYS[1], 'state', 'queued', 'tries', 0)
redis.call('HDEL', KEYS[1], 'retryable', 'error', 'finished_at', 'started_at', 'enqueued', 'step', 'done', 'progress')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'ok'
