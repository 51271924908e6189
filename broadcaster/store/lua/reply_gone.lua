#!lua flags=allow-oom
-- reply_gone: remove replies, and what leads to them and to their people.
--
-- ARGV[3] msgpack: their ids
-- Returns how many there were.

local gone = 0
for _, id in ipairs(cmsgpack.unpack(ARGV[3])) do
  local key = P .. 'reply:' .. id
  local v = redis.call('HMGET', key, 'person', 'sender', 'at')
  if v[1] then
    gone = gone + 1
    local last = redis.call('ZSCORE', P .. 'inbound:' .. v[2], v[1])
    -- the mark of a later reply is that one's
    if last and tonumber(last) * 1000 <= tonumber(v[3]) then
      redis.call('ZREM', P .. 'inbound:' .. v[2], v[1])
      for _, kind in ipairs({'stop:', 'start:', 'help:', 'auto:'}) do redis.call('ZREM', P .. 'answered:' .. v[2], kind .. v[1]) end
    end
    redis.call('ZREM', P .. 'replies:of:' .. v[1], id)
    redis.call('DEL', key)
  end
  redis.call('ZREM', P .. 'replies', id)
  redis.call('ZREM', P .. 'replies:flagged', id)
end
return gone
