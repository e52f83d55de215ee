-- Takes from what a caller may do in a while, by the generic cell rate algorithm (ITU-T I.371, annex A.1).
-- KEYS: quota. ARGV: milliseconds in which one more comes, how many there are at most, how many are taken (0: none, it
-- only looks).
-- Returns 0, or the milliseconds after which there is one.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local interval, most, taken = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local wait = full_at + interval * math.max(taken, 1) - interval * most - now
if wait > 0 then return math.ceil(wait) end
if taken > 0 then
  full_at = full_at + interval * taken
  redis.call('SET', KEYS[1], string.format('%.3f', full_at), 'PX', math.ceil(full_at - now))
end
return 0
