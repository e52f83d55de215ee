-- Writes down that an upload was taken in, unless another attempt holds the claim: that one finds the recording.
-- KEYS: claim. ARGV: the attempt's token, the length of its body, milliseconds for which that is remembered.
local fence = redis.call('HGET', KEYS[1], 'fence')
if fence and fence ~= ARGV[1] then return 'superseded' end
redis.call('HSET', KEYS[1], 'length', ARGV[2], 'fence', ARGV[1], 'taken', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'ok'
