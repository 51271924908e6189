#!lua flags=allow-oom
-- events_take: an endpoint's place in the stream moves on, and what was read there becomes deliveries, in one step.
--
-- ARGV[3] endpoint  ARGV[4] the place it was read from  ARGV[5] the new place
-- ARGV[6] entries up to there since the stream began  ARGV[7] entries that the stream had dropped before they were read
-- ARGV[8] msgpack: list of [id, packed delivery]
-- Returns how many deliveries are new; -1 if the place is another (somebody else has read it), or the endpoint is gone.

local at = P .. 'endpoint:' .. ARGV[3]
if redis.call('HGET', at, 'cursor') ~= ARGV[4] then return -1 end
local fresh = 0
for _, d in ipairs(cmsgpack.unpack(ARGV[8])) do
  if redis.call('HSETNX', at .. ':bodies', d[1], d[2]) == 1 then
    redis.call('ZADD', at .. ':queue', now + fresh, d[1])
    fresh = fresh + 1
  end
end
redis.call('HSET', at, 'cursor', ARGV[5], 'read', ARGV[6])
if ARGV[7] ~= '0' then redis.call('HINCRBY', at, 'lost', ARGV[7]) end
return fresh
