-- Says that a line holds a session's place no more.
-- KEYS: place. ARGV: the line and its caller.
-- Returns 1, or 0 where another line holds it by now.
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0
