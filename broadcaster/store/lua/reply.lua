#!lua flags=allow-oom
-- reply: take one reply, once, with all that follows from it: the opt-out or opt-in, the flag, the event, whether we answer.
--
-- ARGV[3] its id (Twilio's SID)  ARGV[4] digest of the person  ARGV[5] the sender written to  ARGV[6] the facts, opaque
-- ARGV[7] 'add' | 'remove' | ''  ARGV[8] msgpack: the opt-outs to add or remove, as for optout.lua
-- ARGV[9] msgpack: fields of `optouts` of which any says that the person is opted out all the same
-- ARGV[10] why a person should look at it, or ''  ARGV[11] the same, if an opt-in leaves the person opted out
-- ARGV[12] what we would answer: 'stop' | 'start' | 'help' | 'auto' | ''
-- ARGV[13] seconds until the next answer of that kind by this sender to this person
-- Returns [1 if it is new, what we answer, opt-outs changed]; the same answer whenever it is told again.

local id, person, sender, verb = ARGV[3], ARGV[4], ARGV[5], ARGV[7]
local key = P .. 'reply:' .. id
local known = redis.call('HGET', key, 'answer')
if known then return {0, known, 0} end

--@ opt_out_changes
if verb ~= '' then change(verb, cmsgpack.unpack(ARGV[8])) end
keep_changes()

local out = false
local standing = cmsgpack.unpack(ARGV[9])
if #standing > 0 then
  for _, held in ipairs(redis.call('HMGET', entries, unpack(standing))) do out = out or held end
end
local flag = ARGV[10]
if verb == 'remove' and out then flag = ARGV[11] end

-- A robot that answers robots must not go on for ever (Twilio's 14107), and who said no hears nothing but that it was heard.
local answer, day = ARGV[12], P .. 'answered:' .. sender
if answer == 'auto' and out then answer = '' end
if (answer == 'stop' and changed == 0) or (answer == 'start' and out) then answer = '' end
if answer ~= '' then
  local member = answer .. ':' .. person
  local last = redis.call('ZSCORE', day, member)
  if last and tonumber(last) + tonumber(ARGV[13]) > now_s then answer = ''
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
return {1, answer, changed}
