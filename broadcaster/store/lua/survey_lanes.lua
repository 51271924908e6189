#!lua flags=no-writes
-- survey_lanes: some of all lanes, by a cursor, as SSCAN walks them.
--
-- ARGV[3] cursor, '0' to begin  ARGV[4] about so many
-- Returns msgpack [cursor, lanes]: '0' at the end; a lane is [name, rate, tat, paused, hold, pool, due]: `due` is its score in
--   `due` (µs); 0, or '' for a text, for what is not there.

local page = redis.call('SSCAN', P .. 'lanes', ARGV[3], 'COUNT', ARGV[4])
local lanes = {}
for i, lane in ipairs(page[2]) do
  local v = redis.call('HMGET', lane_key(lane), 'rate', 'tat', 'paused', 'hold', 'pool')
  lanes[i] = {lane, tonumber(v[1] or 0) or 0, tonumber(v[2] or 0) or 0, v[3] or '', tonumber(v[4] or 0) or 0, v[5] or '',
              tonumber(redis.call('ZSCORE', P .. 'due', lane) or 0)}
end
return cmsgpack.pack({page[1], lanes})
