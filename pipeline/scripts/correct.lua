-- Appends a correction and the events that follow from it, once, and only to the session that they were made for.
-- What somebody corrects lives no longer for it.
-- KEYS: session, events, corrections. ARGV: the step after which it takes effect, its number (from 1), its token,
-- the correction, one event after another.
local session, events, corrections = KEYS[1], KEYS[2], KEYS[3]
if redis.call('EXISTS', session) == 0 then return 'unknown' end
local entry = ARGV[2] .. '-0'
local known = redis.call('XRANGE', corrections, entry, entry)[1]
if known then
  for i = 1, #known[2], 2 do
    if known[2][i] == 'token' and known[2][i + 1] == ARGV[3] then return 'seen' end
  end
  return 'behind'
end
if redis.call('XLEN', corrections) ~= tonumber(ARGV[2]) - 1 then return 'behind' end
if tonumber(redis.call('HGET', session, 'published') or '-1') ~= tonumber(ARGV[1]) then return 'behind' end
-- Sessions of an earlier version tell that they have ended by their last event alone, and are about to get another.
if redis.call('HEXISTS', session, 'ended') == 0 then
  local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  local event = last and cjson.decode(last[2][2])
  if event and event.type == 'session.ended' then
    redis.call('HSET', session, 'ended', string.format('%.6f', event.heard_until))
  end
end
redis.call('XADD', corrections, entry, 'after', ARGV[1], 'token', ARGV[3], 'correction', ARGV[4])
for i = 5, #ARGV do redis.call('XADD', events, '*', 'event', ARGV[i]) end
local left = redis.call('PTTL', session)
if left > 0 then redis.call('PEXPIRE', corrections, left) end
return 'ok'
