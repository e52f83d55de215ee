-- Says which key opens what is under an owner from now on, unless another than the one that asks opens it by now.
-- KEYS: key. ARGV: the digest of the key that asks, the owner, the digest of the new key, milliseconds to live.
-- Returns 1, or 0 where another key opens it.
if (redis.call('GET', KEYS[1]) or ARGV[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
