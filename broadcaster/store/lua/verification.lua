#!lua flags=allow-oom
-- verification: the start of a verification under an idempotency key: begun before Twilio is asked, ended with its answer.
--
-- ARGV[3] act: begin | end | doubt | drop  ARGV[4] the key's nonce  ARGV[5] token of this very request
-- ARGV[6] digest of what is asked for (begin), or Twilio's answer (end); '' else
-- ARGV[7] seconds that the request may take (begin); 0 else
-- Returns begin: ['begun'], ['kept', answer], ['reused'] (for something else), ['running', ms until it is in doubt], or
--   ['doubt', unix second at which it was begun]; the others: ['ok'], or ['lost'] where another request holds the key.
-- Begun and without an answer, Twilio may have been asked and a code sent, so nobody may begin again: the process that
--   did is slow, or dead. Only what Twilio refused for sure is dropped.

local act, key, token = ARGV[3], P .. 'verify:' .. ARGV[4], ARGV[5]
local v = redis.call('HMGET', key, 'token', 'asked', 'at', 'until', 'answer')
if act ~= 'begin' then
  if v[1] ~= token then return {'lost'} end
  if act == 'end' then redis.call('HSET', key, 'answer', ARGV[6])
  elseif act == 'doubt' then redis.call('HSET', key, 'until', 0)
  elseif not v[5] then redis.call('DEL', key) end
  return {'ok'}
end
if not v[1] then
  redis.call('HSET', key, 'token', token, 'asked', ARGV[6], 'at', now_s, 'until', now + tonumber(ARGV[7]) * 1000000)
  redis.call('EXPIRE', key, 86400)
  return {'begun'}
end
if v[2] ~= ARGV[6] then return {'reused'} end
if v[5] then return {'kept', v[5]} end
if v[1] == token and tonumber(v[4]) > now then return {'begun'} end
if tonumber(v[4]) > now then return {'running', math.ceil((tonumber(v[4]) - now) / 1000)} end
return {'doubt', tonumber(v[3])}
