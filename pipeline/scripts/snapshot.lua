-- Keeps a state, and lets go of the frames that it covers; an erased session stays erased.
-- KEYS: session, snapshot, journal. ARGV: state, the first frame that it does not cover, milliseconds to live.
local session, snapshot, journal = KEYS[1], KEYS[2], KEYS[3]
if redis.call('EXISTS', session) == 0 then return 'unknown' end
redis.call('SET', snapshot, ARGV[1], 'PX', ARGV[3])
redis.call('XTRIM', journal, 'MINID', (tonumber(ARGV[2]) + 1) .. '-0')
return 'ok'
