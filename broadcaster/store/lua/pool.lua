#!lua flags=allow-oom
-- pool: which senders are in the pool of a Messaging Service. Their opt-outs concern each other, so that the epoch of
-- opt-outs moves where a pool changes: nobody sends by an old one.
--
-- ARGV[3] service  ARGV[4] msgpack: list of senders  ARGV[5] 1: they are the whole pool; 0: others may be in it, too
-- Returns how many came or went. Of the whole pool only lanes that there are spend its permits too; with 0 a lane that
--   has never been begins to be.

local service, whole = ARGV[3], ARGV[5] == '1'
local members, pools, changed = cmsgpack.unpack(ARGV[4]), P .. 'pools', 0

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
