#!lua flags=allow-oom
-- events_replay: parked deliveries of an endpoint are due again, from their first try on.
--
-- ARGV[3] endpoint  ARGV[4] msgpack: list of ids; an empty one means the oldest  ARGV[5] so many at most
-- Returns how many are due again. Asked twice the second time changes nothing: they are parked no more.

local at = P .. 'endpoint:' .. ARGV[3]
local ids = cmsgpack.unpack(ARGV[4])
if #ids == 0 then ids = redis.call('ZRANGE', at .. ':parked', 0, tonumber(ARGV[5]) - 1) end
local again = 0
for _, id in ipairs(ids) do
  if again < tonumber(ARGV[5]) and redis.call('ZREM', at .. ':parked', id) == 1 then
    local d = cmsgpack.unpack(redis.call('HGET', at .. ':bodies', id))
    d[3] = 0
    redis.call('HSET', at .. ':bodies', id, cmsgpack.pack(d))
    redis.call('ZADD', at .. ':queue', now + again, id)
    again = again + 1
  end
end
if again > 0 then redis.call('HDEL', at, 'hold', 'streak') end
return again
