-- Cancels a recording: at once where nobody hears it yet, else its worker is asked to stop.
-- KEYS: job. ARGV: Unix seconds, milliseconds to live. Returns the state that it was in.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'unknown' end
if state == 'running' then redis.call('HSET', KEYS[1], 'cancel', ARGV[1]) end
if state == 'queued' then
  redis.call('HSET', KEYS[1], 'state', 'cancelled', 'finished_at', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return state
