#!lua flags=allow-oom
-- reply: take one reply, once, with all that follows from it: the opt-out or opt-in, the flag, the event, whether we answer.
--
-- ARGV[3] its id (Twilio's SID)  ARGV[4] digest of the person  ARGV[5] the sender written to  ARGV[6] the facts, opaque
-- ARGV[7] 'add' | 'remove' | ''  ARGV[8] msgpack: opt-outs to change, ['scope|address', 'scope|~hash']  ARGV[9] source of an opt-out
-- ARGV[10] msgpack: fields of which any says that the person is opted out all the same
-- ARGV[11] why a person should look at it, or ''  ARGV[12] the same, if an opt-in leaves the person opted out
-- ARGV[13] what we would answer: 'stop' | 'start' | 'help' | 'auto' | ''
-- ARGV[14] seconds until the next answer of that kind by this sender to this person
-- ARGV[15] msgpack: [field, purpose] that say that the person is opted out of one purpose  ARGV[16] why a person should look at
--   it, if an opt-in leaves some of those; the purposes are named behind it
-- Returns [1 if it is new, what we answer, opt-outs changed, 1 if it is flagged]; the same answer whenever it is told again.

local EARLIER = 50
local id, person, sender, verb = ARGV[3], ARGV[4], ARGV[5], ARGV[7]
local key = P .. 'reply:' .. id
local known = redis.call('HGET', key, 'answer')
if known then return {0, known, 0, 0} end

local changed = 0
if verb ~= '' then
  for _, field in ipairs(cmsgpack.unpack(ARGV[8])) do
    if verb == 'add' then changed = changed + add_opt_out(field[1], field[2], ARGV[9], now_s)
    else changed = changed + remove_opt_out(field[1], field[2]) end
  end
  keep_opt_outs()
end

local out = false
local all = cmsgpack.unpack(ARGV[10])
if #all > 0 then
  for _, held in ipairs(redis.call('HMGET', P .. 'optouts', unpack(all))) do out = out or held end
end
local flag = ARGV[11]
if verb == 'remove' and out then flag = ARGV[12] end
-- an opt-in takes back opt-outs of all purposes; one that is about some only stays, and Twilio (63033) keeps it, too
local limited = cmsgpack.unpack(ARGV[15])
if verb == 'remove' and not out and #limited > 0 then
  local fields, purposes = {}, {}
  for i, one in ipairs(limited) do fields[i] = one[1] end
  for i, held in ipairs(redis.call('HMGET', P .. 'optouts', unpack(fields))) do
    local purpose = limited[i][2]
    if held and not purposes[purpose] then
      purposes[purpose] = true
      purposes[#purposes + 1] = purpose
    end
  end
  if #purposes > 0 then flag = ARGV[16] .. table.concat(purposes, ', ') end
end
-- who asks to be left alone and is: nothing is left for a person to do, of what was asked before either
if verb == '' and out then flag = '' end
if verb == 'add' then
  for _, before in ipairs(redis.call('ZREVRANGE', P .. 'replies:of:' .. person, 0, EARLIER - 1)) do
    local asked = P .. 'reply:' .. before
    if redis.call('HGET', asked, 'sender') == sender and redis.call('ZREM', P .. 'replies:flagged', before) == 1 then
      redis.call('HSETNX', asked, 'done', 'opt-out|reply:' .. id .. '|' .. now_s)
    end
  end
end

-- A robot that answers robots must not go on for ever (Twilio's 14107), and who said no hears nothing but that it was heard.
local answer, day = ARGV[13], P .. 'answered:' .. sender
if answer == 'auto' and out then answer = '' end
if (answer == 'stop' or answer == 'start') and (changed == 0 or (verb == 'remove' and out)) then answer = '' end
if answer ~= '' then
  local member = answer .. ':' .. person
  local last = redis.call('ZSCORE', day, member)
  if last and tonumber(last) + tonumber(ARGV[14]) > now_s then answer = ''
  else
    redis.call('ZADD', day, now_s, member)
    redis.call('ZREMRANGEBYSCORE', day, '-inf', now_s - 86400)
    redis.call('EXPIRE', day, 86400)
  end
end

local at_ms = math.floor(now / 1000)
redis.call('HSET', key, 'facts', ARGV[6], 'person', person, 'sender', sender, 'at', at_ms, 'flag', flag, 'changed', changed, 'answer', answer)
redis.call('ZADD', P .. 'replies', at_ms, id)
redis.call('ZADD', P .. 'replies:of:' .. person, at_ms, id)
if flag ~= '' then redis.call('ZADD', P .. 'replies:flagged', at_ms, id) end

-- when somebody wrote last, for WhatsApp's 24 hours
local last = P .. 'inbound:' .. sender
redis.call('ZADD', last, now_s, person)
redis.call('ZREMRANGEBYSCORE', last, '-inf', now_s - 86400)
redis.call('EXPIRE', last, 86400)

if asks_for('reply.received') then happened[#happened + 1] = {'reply.received', id} end
publish()
return {1, answer, changed, flag ~= '' and 1 or 0}
