-- Appends the events of one step, unless that step or a later one was published before.
-- KEYS: session, events. ARGV: step, milliseconds to live, one event after another.
local session, events = KEYS[1], KEYS[2]
if redis.call('EXISTS', session) == 0 then return 'unknown' end
local step = tonumber(ARGV[1])
if step <= tonumber(redis.call('HGET', session, 'published') or '-1') then return 'seen' end
for i = 3, #ARGV do redis.call('XADD', events, '*', 'event', ARGV[i]) end
redis.call('HSET', session, 'published', step)
redis.call('PEXPIRE', session, ARGV[2])
redis.call('PEXPIRE', events, ARGV[2])
return 'ok'
