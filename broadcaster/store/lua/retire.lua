#!lua flags=allow-oom
-- retire: let a stream that is over take nothing any more, so that it can be removed.
--
-- ARGV[3] stream  ARGV[4] seconds that it must have been completed for
-- One of a broadcast's or stream's fallbacks goes when that has gone, its people's data have, or it is being removed, however
-- short a time ago.
-- Returns 'ok' (also when asked again), or what forbids it: 'kept' while it is too early, 'open' while messages of a
--   canceled one, or of its fallbacks, are under way or still to be skipped, 'parent' while its broadcast is there, 'handed' while
--   Twilio keeps its messages back (who opts out meanwhile is found by it), 'no stream', its state, 'gone'.

local key = bc_key(ARGV[3])
local v = redis.call('HMGET', key, 'state', 'kind', 'finished', 'n0', 'n1', 'n2', 'n3', 'parent')
if not v[1] then return 'gone' end
if v[2] ~= 'stream' then return 'no stream' end
if v[1] == 'removing' then return 'ok' end
if v[1] ~= 'completed' and v[1] ~= 'canceled' and not v[8] then return v[1] end
if any_open(v, 4) then return 'open' end
for _, child in ipairs(fallbacks_of(ARGV[3])) do
  if any_open(redis.call('HMGET', bc_key(child), 'n0', 'n1', 'n2', 'n3'), 1) then return 'open' end
end
if tonumber(redis.call('ZSCORE', P .. 'handed', ARGV[3]) or 0) > now_s then return 'handed' end
if v[8] then
  local p = redis.call('HMGET', bc_key(v[8]), 'state', 'removed')
  if p[1] and p[1] ~= 'deleting' and p[1] ~= 'removing' and not p[2] then return 'parent' end
elseif tonumber(v[3] or now_s) > now_s - tonumber(ARGV[4]) then return 'kept' end
redis.call('HSET', key, 'state', 'removing')
return 'ok'
