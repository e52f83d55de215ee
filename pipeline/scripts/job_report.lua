-- Writes down how far a recording is, if it is still the worker's.
-- KEYS: job. ARGV: the worker's token, 1 where it got further than ever, then fields and values in turn.
local fence = redis.call('HGET', KEYS[1], 'fence')
if redis.call('EXISTS', KEYS[1]) == 0 then return 'unknown' end
if fence ~= ARGV[1] or redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 'superseded' end
if redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then return 'cancel' end
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'tries', 1) end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 'ok'
