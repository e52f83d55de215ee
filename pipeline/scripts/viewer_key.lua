-- Gives a session, and the upload that it may have been, another viewer key; the one before opens nothing any more.
-- KEYS: session, job. ARGV: the key's digest.
-- Returns how many of the two there are.
local found = 0
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    redis.call('HSET', key, 'viewer', ARGV[1])
    found = found + 1
  end
end
return found
