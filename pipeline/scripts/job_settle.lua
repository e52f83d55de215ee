-- Ends a recording's job, once, if it is still the worker's.
-- KEYS: job. ARGV: the worker's token, the last state, Unix seconds, milliseconds to live, then fields and values.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'unknown' end
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 'superseded' end
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 'superseded' end
if ARGV[2] == 'done' and redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then return 'cancel' end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'finished_at', ARGV[3])
redis.call('HDEL', KEYS[1], 'cancel', 'step')
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 'ok'
