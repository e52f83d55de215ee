-- Keeps what is to be told of a recording, once for an event; another event takes its place.
-- KEYS: webhook, job. ARGV: event id, its type, its bytes, URL, secret, milliseconds to live.
-- Answers with the state of the delivery; 'new' where it was not known, 'erased' where the recording is gone.
local webhook = KEYS[1]
if redis.call('EXISTS', KEYS[2]) == 0 then return 'erased' end
if redis.call('HGET', webhook, 'id') == ARGV[1] then return redis.call('HGET', webhook, 'state') end
redis.call(
  'HSET', webhook, 'id', ARGV[1], 'type', ARGV[2], 'body', ARGV[3], 'url', ARGV[4], 'secret', ARGV[5],
  'attempts', 0, 'state', 'pending'
)
redis.call('PEXPIRE', webhook, ARGV[6])
return 'new'
