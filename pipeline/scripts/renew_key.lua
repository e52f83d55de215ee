-- Gives a session, and the upload that it may have been, another key; the one before opens nothing any more.
-- KEYS: session, job. ARGV: whose key it is (recorder or viewer), its digest.
-- Returns how many of the two there are, or -1 where the key is not the session's own: of an upload it is its owner's,
-- who may have more under it. Whoever records with the old key is told that another has taken over.
if ARGV[1] == 'recorder' and redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
local found = 0
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    redis.call('HSET', key, ARGV[1], ARGV[2])
    found = found + 1
  end
end
if ARGV[1] == 'recorder' and redis.call('HEXISTS', KEYS[1], 'connection') == 1 then
  redis.call('HSET', KEYS[1], 'connection', '')
end
return found
