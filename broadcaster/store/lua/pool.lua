#!lua flags=allow-oom
-- pool: which senders are in the pool of a Messaging Service. Their opt-outs concern each other, so that the epoch of
-- opt-outs moves where a pool changes: nobody sends by an old one.
--
-- ARGV[3] service  ARGV[4] msgpack: list of senders  ARGV[5] 1: they are the whole pool; 0: others may be in it, too
-- ARGV[6] unix second in which Twilio was asked, 0 for now  ARGV[7] 1: one of them writes to numbers on another channel
-- With the whole pool stand `members_at`, when it was read, and `members_plain`, since when no reading has found one of
--   another channel; what was read earlier than what is known changes nothing.
-- Returns how many came or went. Of the whole pool only lanes that there are spend its permits too; with 0 a lane that
--   has never been begins to be.

local service, whole = ARGV[3], ARGV[5] == '1'
local members, pools, changed = cmsgpack.unpack(ARGV[4]), P .. 'pools', 0

local at = tonumber(ARGV[6])
if at == 0 then at = tonumber(redis.call('TIME')[1]) end
if whole then
  local lane = lane_key(service)
  local known = redis.call('HMGET', lane, 'members', 'members_at')
  if known[2] and tonumber(known[2]) > at then return 0 end
  if ARGV[7] == '1' then
    redis.call('HDEL', lane, 'members_plain')
  elseif known[1] and not known[2] and not string.find(known[1], 'rcs:', 1, true) then
    redis.call('HSETNX', lane, 'members_plain', 1) -- of a version that kept no times
  else
    redis.call('HSETNX', lane, 'members_plain', at)
  end
  redis.call('HSET', lane, 'members_at', at)
end

local function note(member, now_in)
  changed = changed + 1
  note_opt_out('=', member .. '|' .. now_in)
end

local there = {}
for _, member in ipairs(members) do
  there[member] = true
  if redis.call('HGET', pools, member) ~= service then
    redis.call('HSET', pools, member, service)
    note(member, service)
  end
  if not whole then redis.call('SADD', P .. 'lanes', member) end
  if not whole or redis.call('SISMEMBER', P .. 'lanes', member) == 1 then
    redis.call('HSET', lane_key(member), 'pool', service)
  end
end
if whole then
  redis.call('HSET', lane_key(service), 'members', table.concat(members, '\n'))
  local known = redis.call('HGETALL', pools)
  for i = 1, #known, 2 do
    if known[i + 1] == service and not there[known[i]] then
      redis.call('HDEL', pools, known[i])
      note(known[i], '')
    end
  end
end
keep_opt_outs()
return changed
