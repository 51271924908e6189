#!lua flags=no-writes
-- survey_flows: how far some flows have come.
--
-- ARGV[3] msgpack: list of [broadcast, lanes], a few hundred lanes in all
-- Returns msgpack: a list for each broadcast, of a flow for each lane: [batches, head, recipients, segments, retries, ranges given
--   back, retries that are due, when the first is (µs)], 0 for what is not there.

local found = {}
for i, one in ipairs(cmsgpack.unpack(ARGV[3])) do
  local flows = {}
  for k, lane in ipairs(one[2]) do
    local key = flow_key(one[1], lane)
    local v = redis.call('HMGET', key, 'n', 'head', 'recipients', 'segments')
    local retries, due, first = redis.call('ZCARD', key .. ':retry'), 0, 0
    if retries > 0 then
      due = redis.call('ZCOUNT', key .. ':retry', '-inf', now)
      first = tonumber(redis.call('ZRANGE', key .. ':retry', 0, 0, 'WITHSCORES')[2])
    end
    flows[k] = {tonumber(v[1] or 0), tonumber(v[2] or 0), tonumber(v[3] or 0), tonumber(v[4] or 0), retries,
                redis.call('LLEN', key .. ':back'), due, first}
  end
  found[i] = flows
end
return cmsgpack.pack(found)
