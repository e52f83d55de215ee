-- A sign of life of an attempt to upload, whose claim may have expired so long as nobody else has made it.
-- KEYS: claim, job. ARGV: the attempt's token, the length of its body, milliseconds without a sign of life to live.
-- Returns 'ok', or 'superseded' where another attempt holds the claim, or the recording was taken in.
local fence = redis.call('HGET', KEYS[1], 'fence')
if fence and fence ~= ARGV[1] then return 'superseded' end
if redis.call('HEXISTS', KEYS[1], 'taken') == 1 or redis.call('EXISTS', KEYS[2]) == 1 then return 'superseded' end
redis.call('HSET', KEYS[1], 'length', ARGV[2], 'fence', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'ok'
