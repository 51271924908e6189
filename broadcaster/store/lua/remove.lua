#!lua flags=allow-oom
-- remove: mark an ended broadcast as one whose people's data are being removed: nothing of it can be sent again. Its caller,
-- or whoever finds it in `removing`, removes them.
--
-- ARGV[3] broadcast  ARGV[4] its spec without what the messages said (msgpack)  ARGV[5] second before which it must have
--   ended, or been made where it is a draft that nobody started, '' for any end and no draft
-- ARGV[6] second at which it must have ended, '' for any  ARGV[7] why, for a draft that is canceled by this
-- Returns [verdict, second]: 'ok' and since when; 'removed' and since when, if it was marked before; else 'kept' while it is
--   too early, 'changed' if it ended at another second, 'open' while a message of it is unsent, on its way or in doubt, 'handed'
--   while Twilio keeps messages back until their hour (who opts out meanwhile is found by it), or the state that forbids it
--   ('gone' if there is none, 'stream': those are removed as a whole).

local bid = ARGV[3]
local key = bc_key(bid)
local v = redis.call('HMGET', key, 'state', 'kind', 'removed', 'finished', 'created', 'n0', 'n1', 'n2', 'n3', 'cls')
local state, ended = v[1], tonumber(v[4] or 0)
if not state then return {'gone', 0} end
if v[3] then return {'removed', tonumber(v[3])} end
if v[2] == 'stream' then return {'stream', 0} end
local draft = state == 'draft' and ARGV[5] ~= ''
if draft then ended = tonumber(v[5] or 0)
elseif state ~= 'completed' and state ~= 'canceled' and state ~= 'failed' then return {state, 0} end
if ARGV[5] ~= '' and ended > tonumber(ARGV[5]) then return {'kept', 0} end
if ARGV[6] ~= '' and ended ~= tonumber(ARGV[6]) then return {'changed', 0} end
for i = draft and 7 or 6, 9 do if tonumber(v[i] or 0) > 0 then return {'open', 0} end end
for _, child in ipairs(fallbacks_of(bid)) do
  if any_open(redis.call('HMGET', bc_key(child), 'n0', 'n1', 'n2', 'n3'), 1) then return {'open', 0} end
end
if not draft and tonumber(redis.call('ZSCORE', P .. 'handed', bid) or 0) > now_s then return {'handed', 0} end
redis.call('HSET', key, 'spec', ARGV[4], 'removed', now_s)
redis.call('HDEL', key, 'open', 'window', 'clean', 'early', 'told', 'told_clean', 'told_early')
redis.call('SADD', P .. 'removing', bid)
redis.call('SREM', P .. 'skipping', bid)
if draft then
  local unsent = tonumber(v[6] or 0)
  redis.call('HSET', key, 'state', 'canceled', 'reason', ARGV[7], 'finished', now_s)
  if unsent > 0 then
    redis.call('HINCRBY', key, 'n' .. QUEUED, -unsent)
    redis.call('HINCRBY', key, 'n' .. SKIPPED, unsent)
    redis.call('HINCRBY', key .. ':codes', SKIPPED .. ':' .. CANCELED, unsent)
  end
  broadcast_changed('broadcast.completed', bid, state, 'canceled', ARGV[7])
  publish()
end
return {'ok', now_s}
