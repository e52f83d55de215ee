-- Keeps what was heard of a segment, while its recording is the worker's: no notes shall outlive what they are of.
-- KEYS: job, notes. ARGV: the worker's token, a name, what was heard, milliseconds to live.
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 'superseded' end
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 'superseded' end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 'ok'
