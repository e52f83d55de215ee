-- Writes one frame to a journal, once.
-- KEYS: session, journal. ARGV: connection, codec, frame number, bytes, arrival, cadence,
-- milliseconds to live for the session, and for its sound.
-- Answers with an outcome and the number of the frame that is expected next.
local session, journal = KEYS[1], KEYS[2]
local owner = redis.call('HGET', session, 'connection')
if not owner then return {'unknown', 0} end
local field, frame = 'next_' .. ARGV[2], tonumber(ARGV[3])
local expected = tonumber(redis.call('HGET', session, field) or '0')
-- A recorder whose line broke after it had said stop sends again what was journalled without its knowing.
if redis.call('HGET', session, 'stopped') and frame >= expected then return {'over', 0} end
if owner ~= ARGV[1] then return {'taken', 0} end
if frame > expected then return {'gap', expected} end
if frame < expected then return {'seen', expected} end
local fields = {'data', ARGV[4], 'at', ARGV[5]}
if ARGV[6] ~= '1' then fields = {'data', ARGV[4], 'at', ARGV[5], 'cadence', ARGV[6]} end
redis.call('XADD', journal, (frame + 1) .. '-0', unpack(fields))
redis.call('HSET', session, field, frame + 1)
if ARGV[2] == 'audio' then redis.call('HINCRBY', session, 'samples', string.len(ARGV[4]) / 2) end
redis.call('PEXPIRE', session, ARGV[7])
redis.call('PEXPIRE', journal, ARGV[8])
return {'ok', expected + 1}
