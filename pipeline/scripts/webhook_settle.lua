-- Logs an attempt, once, and says what has become of the delivery; an erased one stays erased.
-- KEYS: webhook, deliveries. ARGV: event id, the attempt's number, the state that follows, entry of the log, how many
-- entries are kept.
local webhook, deliveries = KEYS[1], KEYS[2]
if redis.call('HGET', webhook, 'id') ~= ARGV[1] then return 'unknown' end
if redis.call('LINDEX', deliveries, -1) ~= ARGV[4] then
  redis.call('RPUSH', deliveries, ARGV[4])
  redis.call('LTRIM', deliveries, -tonumber(ARGV[5]), -1)
  redis.call('PEXPIRE', deliveries, math.max(1, redis.call('PTTL', webhook)))
end
-- An attempt that was overtaken does not end the one under way by its failure; a success is one, however late.
local overtaken = redis.call('HGET', webhook, 'attempts') ~= ARGV[2]
if redis.call('HGET', webhook, 'state') == 'pending' and (ARGV[3] == 'delivered' or not overtaken) then
  redis.call('HSET', webhook, 'state', ARGV[3])
end
return redis.call('HGET', webhook, 'state')
