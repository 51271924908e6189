#!lua flags=allow-oom
-- delete: mark a broadcast that has ended, or was never started, as `deleting`: nothing can be done to it any more, and
-- its caller removes what it consists of. A draft's, or canceled one's, unsent records go with it.
--
-- ARGV[3] broadcast
-- Returns [verdict, state before]: 'ok', also when it is being deleted already; 'gone'; 'open' while a message of it is
--   on its way or in doubt, whose outcome would be lost; 'handed' while Twilio keeps one back until its hour; or the
--   state that forbids it.

local bid = ARGV[3]
local key = bc_key(bid)
local b = redis.call('HMGET', key, 'state', 'cls', 'idem', 'n' .. SENDING, 'n' .. IN_DOUBT, 'n' .. ACCEPTED)
local state = b[1]
if not state then return {'gone', ''} end
if state == 'deleting' then return {'ok', state} end
if state ~= 'completed' and state ~= 'canceled' and state ~= 'failed' and state ~= 'draft' then return {state, state} end
if tonumber(b[4] or 0) + tonumber(b[5] or 0) > 0 then return {'open', state} end
for _, child in ipairs(fallbacks_of(bid)) do
  if any_open(redis.call('HMGET', bc_key(child), 'n0', 'n1', 'n2', 'n3'), 1) then return {'open', state} end
end
-- nobody could cancel any more what Twilio keeps back until its hour
local handed = redis.call('ZSCORE', P .. 'handed', bid)
if handed and tonumber(handed) > now_s and tonumber(b[6] or 0) > 0 then return {'handed', state} end
redis.call('HSET', key, 'state', 'deleting', 'reason', '')
for _, lane in ipairs(redis.call('LRANGE', key .. ':lanes', 0, -1)) do
  redis.call('ZREM', class_key(lane, b[2]), bid)
  redis.call('ZREM', later_key(lane), bid)
end
redis.call('ZREM', P .. 'scheduled', bid)
for _, set in ipairs({'active', 'skipping', 'doubtful', 'windowed'}) do redis.call('SREM', P .. set, bid) end
if b[3] and b[3] ~= '' and redis.call('GET', P .. 'idem:' .. b[3]) == bid then redis.call('DEL', P .. 'idem:' .. b[3]) end
return {'ok', state}
