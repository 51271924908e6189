#!lua flags=allow-oom
-- events_done: how deliveries to one endpoint ended.
--
-- ARGV[3] endpoint  ARGV[4] msgpack: list of [id, how, delay, packed delivery]
--   how: 'delivered', 'again' (delay: µs until it is due), or 'parked'
-- ARGV[5] msgpack map of what to remember of the endpoint {field: text}  ARGV[6] parked deliveries to keep at most
-- Returns [delivered, again, parked, dropped]: `dropped` of the oldest parked. A delivery that is not waiting is left alone.

local at = P .. 'endpoint:' .. ARGV[3]
local count = {delivered = 0, again = 0, parked = 0}
local ends, ids, delivered = cmsgpack.unpack(ARGV[4]), {}, {}
for i, d in ipairs(ends) do ids[i] = d[1] end
for i, waiting in ipairs(#ids > 0 and redis.call('ZMSCORE', at .. ':queue', unpack(ids)) or {}) do
  local id, how, delay, body = unpack(ends[i])
  if waiting then
    count[how] = count[how] + 1
    if how == 'delivered' then delivered[#delivered + 1] = id
    else
      -- what is told stays as it stands here: a person may have been taken out of it since it was read
      local new, old = cmsgpack.unpack(body), cmsgpack.unpack(redis.call('HGET', at .. ':bodies', id))
      new[5] = old[5]
      redis.call('HSET', at .. ':bodies', id, cmsgpack.pack(new))
    end
    if how == 'again' then redis.call('ZADD', at .. ':queue', now + delay, id) end
    if how == 'parked' then
      redis.call('ZREM', at .. ':queue', id)
      redis.call('ZADD', at .. ':parked', now, id)
    end
  end
end
if #delivered > 0 then
  redis.call('ZREM', at .. ':queue', unpack(delivered))
  redis.call('HDEL', at .. ':bodies', unpack(delivered))
end
local dropped = 0
for _, id in ipairs(redis.call('ZRANGE', at .. ':parked', 0, -tonumber(ARGV[6]) - 1)) do
  redis.call('ZREM', at .. ':parked', id)
  redis.call('HDEL', at .. ':bodies', id)
  dropped = dropped + 1
end
if redis.call('EXISTS', at) == 1 then
  for name, n in pairs(count) do if n > 0 then redis.call('HINCRBY', at, name, n) end end
  if dropped > 0 then redis.call('HINCRBY', at, 'dropped', dropped) end
  for field, text in pairs(cmsgpack.unpack(ARGV[5])) do
    if text == '' then redis.call('HDEL', at, field) else redis.call('HSET', at, field, text) end
  end
end
return {count.delivered, count.again, count.parked, dropped}
