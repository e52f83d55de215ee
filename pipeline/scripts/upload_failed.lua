-- Gives a claim up, if it is still the attempt's. KEYS: claim. ARGV: the attempt's token.
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 'superseded' end
redis.call('DEL', KEYS[1])
return 'ok'
