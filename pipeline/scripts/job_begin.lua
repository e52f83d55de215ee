-- Lets a worker begin with a recording, and fences off whoever held it before.
-- KEYS: job. ARGV: the worker's token, Unix seconds, how often it may be begun without getting further.
-- Returns what to do: 'go on', 'cancel', 'give up', or the state that leaves nothing to be done ('unknown': it is gone).
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'unknown' end
if state ~= 'queued' and state ~= 'running' then return state end
redis.call('HSETNX', KEYS[1], 'started_at', ARGV[2])
redis.call('HSET', KEYS[1], 'state', 'running', 'fence', ARGV[1])
if redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then return 'cancel' end
if redis.call('HINCRBY', KEYS[1], 'tries', 1) > tonumber(ARGV[3]) then return 'give up' end
return 'go on'
