-- Makes a recording that is being heard a session with the keys of its job; one that was erased meanwhile stays erased.
-- What other models had begun to publish of it is dropped: turns of the one and readings of the other make no timeline.
-- KEYS: session, job, events. ARGV: milliseconds to live, the models that hear it, then fields and values in turn.
-- Returns 'ok', 'unknown', or 'superseded' where nobody hears it any more.
local state, recorder, viewer = unpack(redis.call('HMGET', KEYS[2], 'state', 'recorder', 'viewer'))
if not state then return 'unknown' end
if state ~= 'running' and state ~= 'done' then return 'superseded' end
redis.call('HSET', KEYS[1], 'recorder', recorder, 'viewer', viewer)
if redis.call('HGET', KEYS[2], 'models') ~= ARGV[2] then
  redis.call('DEL', KEYS[3])
  redis.call('HDEL', KEYS[1], 'published')
end
redis.call('HSET', KEYS[2], 'models', ARGV[2])
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'ok'
