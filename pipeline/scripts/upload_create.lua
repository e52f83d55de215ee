-- Makes a job of an upload, unless its recording has one: no attempt may overwrite what another has brought.
-- KEYS: job. ARGV: milliseconds to live, then fields and values in turn.
if redis.call('EXISTS', KEYS[1]) == 1 then return 'superseded' end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'ok'
