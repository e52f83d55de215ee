-- Appends the events of one step, unless that step or a later one was published before.
-- KEYS: session, events, corrections, looks, which live as long as what they are of. ARGV: step, milliseconds to live, how many corrections the events follow from
-- (empty: whatever there are), seconds of the session where this is its end (empty: it is not), one event after another.
local session, events = KEYS[1], KEYS[2]
if redis.call('EXISTS', session) == 0 then return 'unknown' end
local step = tonumber(ARGV[1])
if step <= tonumber(redis.call('HGET', session, 'published') or '-1') then return 'seen' end
if ARGV[3] ~= '' and redis.call('XLEN', KEYS[3]) ~= tonumber(ARGV[3]) then return 'behind' end
for i = 5, #ARGV do redis.call('XADD', events, '*', 'event', ARGV[i]) end
redis.call('HSET', session, 'published', step)
if ARGV[4] ~= '' then redis.call('HSET', session, 'ended', ARGV[4]) end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[2]) end
return 'ok'
