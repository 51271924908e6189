#!lua flags=allow-oom
-- release: end claims. What was never `sending` goes back to its flow at once. A record that left is left alone, but not
-- forgotten: while its outcome is missing it stays under the name `claim~`, to which the gate says no and which is
-- swept like any claim.
--
-- ARGV[3] worker  ARGV[4] msgpack: list of claims
-- Returns how many claims were live. Ending a claim twice does nothing the second time.

local claims = P .. 'worker:' .. ARGV[3] .. ':claims'
local ended = 0
for _, claim in ipairs(cmsgpack.unpack(ARGV[4])) do
  local raw = redis.call('HGET', claims, claim)
  if raw then
    ended = ended + 1
    local held = cmsgpack.unpack(raw)
    local sending = give_back(held, nil)
    redis.call('HDEL', claims, claim)
    if #sending > 0 then
      held[4] = table.concat(sending, ',')
      redis.call('HSET', claims, claim .. '~', cmsgpack.pack(held))
    end
  end
end
apply_counters()
return ended
