-- Counts an attempt before it is made, so that one that takes its worker down with it counts too.
-- KEYS: webhook. Answers with event id, type, bytes, URL, secret and the attempt's number (from 1); with nothing where
-- there is nothing to be told any more.
local webhook = KEYS[1]
if redis.call('HGET', webhook, 'state') ~= 'pending' then return nil end
local attempt = redis.call('HINCRBY', webhook, 'attempts', 1)
local told = redis.call('HMGET', webhook, 'id', 'type', 'body', 'url', 'secret')
told[6] = attempt
return told
