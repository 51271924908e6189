#!lua flags=allow-oom
-- events_expire: drop deliveries of one endpoint that nobody took for too long, waiting or parked.
--
-- ARGV[3] endpoint  ARGV[4] microsecond before which they were due, or parked  ARGV[5] so many of each at most
-- Returns how many went. They count as `dropped` for the endpoint. Twice: 0.

local at, went = P .. 'endpoint:' .. ARGV[3], 0
for _, part in ipairs({':queue', ':parked'}) do
  local ids = redis.call('ZRANGEBYSCORE', at .. part, '-inf', '(' .. ARGV[4], 'LIMIT', 0, ARGV[5])
  if #ids > 0 then
    redis.call('ZREM', at .. part, unpack(ids))
    redis.call('HDEL', at .. ':bodies', unpack(ids))
    went = went + #ids
  end
end
if went > 0 and redis.call('EXISTS', at) == 1 then redis.call('HINCRBY', at, 'dropped', went) end
return went
