#!lua flags=allow-oom
-- once: a request with an Idempotency-Key: taken up by one process at a time, and its answer kept.
--
-- ARGV[3] act: take | renew | keep | drop  ARGV[4] whose key, and which  ARGV[5] token of this very request
-- ARGV[6] ms that it holds its turn without renewing it (take, renew; 0 ends it, and what was asked for stays), or seconds to keep the answer (keep)
-- ARGV[7] what was asked for (take, keep); '' while that is not known (take)  ARGV[8] the answer (keep)
-- Returns take: ['taken'], ['kept', what was asked for, answer], ['reused'] (for something else), or ['running', ms until
--   its turn ends unless it is renewed]; the others: ['ok'], or ['lost'] if the turn is another request's by now.
-- A turn that ran out is free: its process died. Whoever takes it does the same again, which has to be idempotent.

local act, key, token = ARGV[3], P .. 'once:' .. ARGV[4], ARGV[5]
local v = redis.call('HMGET', key, 'token', 'until', 'asked', 'answer')
if act ~= 'take' then
  if v[1] ~= token then return {'lost'} end
  if act == 'renew' then
    if not v[4] then redis.call('HSET', key, 'until', now + tonumber(ARGV[6]) * 1000) end
  elseif act == 'keep' then
    redis.call('HSET', key, 'asked', ARGV[7], 'answer', ARGV[8])
    redis.call('EXPIRE', key, ARGV[6])
  elseif not v[4] then redis.call('DEL', key) end
  return {'ok'}
end
local asked = v[3] or ''
if asked ~= '' and ARGV[7] ~= '' and asked ~= ARGV[7] then return {'reused'} end
if v[4] then return {'kept', asked, v[4]} end
if v[1] and v[1] ~= token and tonumber(v[2]) > now then
  return {'running', math.ceil((tonumber(v[2]) - now) / 1000)}
end
redis.call('HSET', key, 'token', token, 'until', now + tonumber(ARGV[6]) * 1000,
           'asked', asked ~= '' and asked or ARGV[7])
redis.call('EXPIRE', key, 86400)
return {'taken'}
