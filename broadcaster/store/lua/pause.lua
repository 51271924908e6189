#!lua flags=allow-oom
-- pause: take a running broadcast's flows out of their lanes. Records stay as they are; the gate refuses from now on.
--
-- ARGV[3] broadcast  ARGV[4] reason a person can read
-- Returns 'ok', or the state it is in ('gone' if unknown).

local bid = ARGV[3]
local key = bc_key(bid)
local state, parent = unpack(redis.call('HMGET', key, 'state', 'parent'))
if not state then return 'gone' end
if state ~= 'running' then return state end
redis.call('HSET', key, 'state', 'paused', 'reason', ARGV[4])
if parent then redis.call('HSET', key, 'own', '1') end -- it doesn't go on with the broadcast whose SMS it is
local cls = redis.call('HGET', key, 'cls')
for _, lane in ipairs(redis.call('LRANGE', key .. ':lanes', 0, -1)) do
  redis.call('ZREM', class_key(lane, cls), bid)
  redis.call('ZREM', later_key(lane), bid)
end
pause_fallbacks(bid, ARGV[4])
broadcast_changed('broadcast.paused', bid, state, 'paused', ARGV[4])
publish()
return 'ok'
