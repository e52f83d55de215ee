-- Makes a connection the one recorder of a session.
-- KEYS: session, audio, snapshot. ARGV: connection, codec.
-- Answers with an outcome, the codec that the session has, and how far its journals reach.
local session, connection, codec = KEYS[1], ARGV[1], ARGV[2]
local function count(field) return tonumber(redis.call('HGET', session, field) or '0') end
if redis.call('EXISTS', session) == 0 then return {'unknown', '', 0, 0, 0} end
if redis.call('HEXISTS', session, 'stopped') == 1 then return {'over', '', 0, 0, 0} end
-- Without its sound and its state nobody can go on with a conversation.
if count('samples') > 0 and redis.call('EXISTS', KEYS[2], KEYS[3]) == 0 then return {'over', '', 0, 0, 0} end
redis.call('HSETNX', session, 'codec', codec)
local recorded = redis.call('HGET', session, 'codec')
if recorded ~= codec then return {'other', recorded, 0, 0, 0} end
redis.call('HSET', session, 'connection', connection)
return {'ok', recorded, count('next_' .. codec), count('next_audio'), count('samples')}
