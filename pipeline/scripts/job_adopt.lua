-- Makes a recording that is being heard a session with the keys of its job; one that was erased meanwhile stays erased.
-- KEYS: session, job. ARGV: milliseconds to live, then fields and values in turn.
-- Returns 'ok', 'unknown', or 'superseded' where nobody hears it any more.
local state, recorder, viewer = unpack(redis.call('HMGET', KEYS[2], 'state', 'recorder', 'viewer'))
if not state then return 'unknown' end
if state ~= 'running' and state ~= 'done' then return 'superseded' end
redis.call('HSET', KEYS[1], 'recorder', recorder, 'viewer', viewer)
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'ok'
