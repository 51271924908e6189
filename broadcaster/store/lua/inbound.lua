#!lua flags=allow-oom
-- inbound: raise marks of a sender: when people last wrote to it, or when Twilio said that a window is closed.
--
-- ARGV[3] the sender (or service)  ARGV[4] msgpack: [member, unix second, …]; members: ledger/inbound.py
-- Returns how many marks are later than before. None is ever lowered, set ahead of Redis' clock, or kept for longer than a
-- day, as in reply.lua; so twice with the same input changes nothing the second time.

local key = P .. 'inbound:' .. ARGV[3]
local given, oldest, raised = cmsgpack.unpack(ARGV[4]), now_s - 86400, 0
for i = 1, #given, 2 do
  local at = math.min(given[i + 1], now_s)
  if at > oldest then
    local before = redis.call('ZSCORE', key, given[i])
    if not before or tonumber(before) < at then
      redis.call('ZADD', key, at, given[i])
      raised = raised + 1
    end
  end
end
if raised > 0 then
  redis.call('ZREMRANGEBYSCORE', key, '-inf', oldest)
  redis.call('EXPIRE', key, 86400)
end
return raised
