#!lua flags=allow-oom
-- release: end claims. What was never `sending` goes back to its flow at once; a record that left is left alone.
--
-- ARGV[3] worker  ARGV[4] msgpack: list of claims
-- Returns how many claims were live. Ending a claim twice does nothing the second time.

local claims = P .. 'worker:' .. ARGV[3] .. ':claims'
local ended = 0
for _, claim in ipairs(cmsgpack.unpack(ARGV[4])) do
  local raw = redis.call('HGET', claims, claim)
  if raw then
    ended = ended + 1
    give_back(cmsgpack.unpack(raw), nil)
    redis.call('HDEL', claims, claim)
  end
end
apply_counters()
return ended
