#!lua flags=allow-oom
-- once: a request with an Idempotency-Key: taken up by one process at a time, and its answer kept.
--
-- ARGV[3] act: take | renew | keep | drop | forget  ARGV[4] whose turn: whose key, and which
-- ARGV[5] token of this very request; SHA-1 (hex) of the answer that its caller has seen there (forget)
-- ARGV[6] ms that it holds its turn without renewing it (take, renew; 0 ends it, and what was asked for stays), or seconds to keep the answer (keep)
-- ARGV[7] what was asked for (take, forget); '' while that is not known (take)
-- ARGV[8] the answer, packed (keep); what the memo was (forget)
-- ARGV[9] name of the memo (append.lua) that the answer takes the place of; '' for none (keep, forget)
-- Returns take: ['taken'], ['kept', what was asked for, answer], ['reused'] (for something else), or ['running', ms until
--   its turn ends unless it is renewed]; the others: ['ok'], or ['lost'] if the turn is another request's by now.
-- A turn is a hash; an answer that is kept a string, of which its caller knows what was asked for (''). The version before
-- kept it in the hash. A turn that ran out is free: its process died. Whoever takes it does the same again, which has to be
-- idempotent. `forget` takes an answer away and leaves all as it was before it was kept. What an answer takes the place of
-- stays for an hour (s).

local OLDER_SLEEP = 3600
local act, key, token = ARGV[3], P .. 'once:' .. ARGV[4], ARGV[5]
local kind = redis.call('TYPE', key).ok
if kind == 'string' then
  local answer = redis.call('GET', key)
  if act == 'take' then return {'kept', '', answer} end
  if act ~= 'forget' or redis.sha1hex(answer) ~= token then return {'lost'} end
  local left = redis.call('PTTL', key)
  redis.call('DEL', key)
  redis.call('HSET', key, 'token', '', 'until', 0, 'asked', ARGV[7])
  redis.call('PEXPIRE', key, left)
  if ARGV[9] ~= '' then
    redis.call('HSET', P .. 'append:' .. ARGV[9], 'number', 1, 'answer', ARGV[8])
    redis.call('PEXPIRE', P .. 'append:' .. ARGV[9], left)
  end
  return {'ok'}
end
local v = kind == 'hash' and redis.call('HMGET', key, 'token', 'until', 'asked', 'answer') or {}
if act ~= 'take' then
  if v[1] ~= token then return {'lost'} end
  if act == 'renew' then
    if not v[4] then redis.call('HSET', key, 'until', now + tonumber(ARGV[6]) * 1000) end
  elseif act == 'keep' then
    redis.call('SET', key, ARGV[8], 'EX', ARGV[6])
    -- the version before looks at nothing but the memo: a process of it may have slept since it asked
    if ARGV[9] ~= '' then redis.call('EXPIRE', P .. 'append:' .. ARGV[9], OLDER_SLEEP) end
  elseif act == 'drop' and not v[4] then redis.call('DEL', key) end
  return {'ok'}
end
-- after `forget` only the first half of what was asked for is known
local asked = v[3] or ''
if asked ~= '' and ARGV[7] ~= '' and asked ~= string.sub(ARGV[7], 1, #asked) then return {'reused'} end
if v[4] then return {'kept', asked, v[4]} end
if v[1] and v[1] ~= token and tonumber(v[2]) > now then
  return {'running', math.ceil((tonumber(v[2]) - now) / 1000)}
end
redis.call('HSET', key, 'token', token, 'until', now + tonumber(ARGV[6]) * 1000,
           'asked', asked ~= '' and asked or ARGV[7])
redis.call('EXPIRE', key, 86400)
return {'taken'}
