-- Begins the upload that an Idempotency-Key stands for, unless it is known.
-- KEYS: claim, job. ARGV: the attempt's token, the length of its body, milliseconds without a sign of life to live,
-- milliseconds for which what was taken in is remembered.
-- Returns 'new', 'taken' (its recording is there), 'arriving' (another attempt is on its way), or 'other'.
local claim, job = KEYS[1], KEYS[2]
local length = redis.call('HGET', claim, 'length')
local there = redis.call('EXISTS', job) == 1
-- What was taken in and is not there any more was erased, or its time was over: it may come anew.
local known = there or redis.call('HEXISTS', claim, 'taken') == 0
if known and length and length ~= ARGV[2] then return 'other' end
if there then -- whoever took it in may have died before it wrote that down
  redis.call('HSET', claim, 'length', ARGV[2], 'taken', 1)
  redis.call('PEXPIRE', claim, ARGV[4])
  return 'taken'
end
if known and length then return 'arriving' end
redis.call('DEL', claim)
redis.call('HSET', claim, 'length', ARGV[2], 'fence', ARGV[1])
redis.call('PEXPIRE', claim, ARGV[3])
return 'new'
