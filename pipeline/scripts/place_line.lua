-- Says which line holds a session's place, for as long as the place is held: the one that does, unless it has gone.
-- KEYS: place. ARGV: the line and its caller, milliseconds, 1 to take it from another line.
local holds = redis.call('GET', KEYS[1])
if ARGV[3] == '1' or not holds or holds == ARGV[1] then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
