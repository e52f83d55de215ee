-- Takes a recording from a worker that gives no sign of life: it waits again, and its worker is fenced off.
-- KEYS: job. Returns 'ok', or 'over' where nobody holds it.
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 'over' end
redis.call('HSET', KEYS[1], 'state', 'queued')
redis.call('HDEL', KEYS[1], 'fence', 'enqueued')
return 'ok'
