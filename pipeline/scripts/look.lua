-- Writes down a look, as a part of the one before where that is of the same kind and not long ago; what is erased has none.
-- KEYS: looks, session, job. ARGV: who, what, Unix seconds, seconds within which looks are one, how many are kept.
local left = math.max(redis.call('PTTL', KEYS[2]), redis.call('PTTL', KEYS[3]))
if left <= 0 then return 'unknown' end
local now, same = tonumber(ARGV[3]), nil
local looks = redis.call('LRANGE', KEYS[1], 0, -1)
for i = #looks, 1, -1 do
  local look = cjson.decode(looks[i])
  if look.who == ARGV[1] and look.what == ARGV[2] then
    if look['until'] + tonumber(ARGV[4]) >= now then same = {i - 1, look} end
    break
  end
end
-- Written out: cjson would cut off the decimals of a time.
local function told(since) return string.format('{"who":"%s","what":"%s","since":%.3f,"until":%.3f}', ARGV[1], ARGV[2], since, now) end
if same then
  redis.call('LSET', KEYS[1], same[1], told(same[2].since))
else
  redis.call('RPUSH', KEYS[1], told(now))
  if #looks >= tonumber(ARGV[5]) then
    -- The oldest goes, but for the first of its kind: whoever looks often could otherwise hide that somebody looked.
    local first = {}
    for i, entry in ipairs(looks) do
      local look = cjson.decode(entry)
      local kind = look.who .. ' ' .. look.what
      if first[kind] then
        redis.call('LSET', KEYS[1], i - 1, '')
        redis.call('LREM', KEYS[1], 1, '')
        break
      end
      first[kind] = true
    end
  end
end
redis.call('PEXPIRE', KEYS[1], left)
return 'ok'
