#!lua flags=allow-oom
-- resume: put a paused broadcast's flows back at the clock of their lanes. Messages that a whole run of content
-- refusals had ended are queued again, and failures are counted anew.
--
-- ARGV[3] broadcast
-- Returns 'ok', or the state it is in ('gone' if unknown).

local bid = ARGV[3]
local key = bc_key(bid)
local v = redis.call('HMGET', key, 'state', 'cls')
if not v[1] then return 'gone' end
if v[1] ~= 'paused' then return v[1] end
redis.call('HSET', key, 'state', 'running', 'reason', '')
redis.call('HSETNX', key, 'started', now_s) -- it was paused when its time came
broadcast_changed('broadcast.started', bid, 'paused', 'running', '')
redis.call('HDEL', key, 'window', 'clean', 'early', 'told', 'told_clean', 'told_early')
local run = redis.call('LRANGE', key .. ':run', 0, -1)
if #run < CONTENT_RUN then run = {} else redis.call('DEL', key .. ':run') end
for _, entry in ipairs(run) do
  local lane, batch, i = string.match(entry, '^(.-)\n(.-)\n(%d+)$')
  local index = tonumber(i)
  local raw = redis.call('GETRANGE', ledger_key(bid, batch), index * 32, index * 32 + 31)
  if #raw == 32 then
    local state, _, flags, segments, attempt, code = head_of(raw, 1)
    if state == DEAD then
      redis.call('SETRANGE', ledger_key(bid, batch), index * 32,
                 record(RETRY, 0, flags, segments, attempt, code, NO_SID, struct.unpack('>I4', raw, 25), now_s))
      moved(bid, batch, DEAD, RETRY)
      redis.call('HINCRBY', key .. ':codes', '10:' .. code, -1)
      retry_at(bid, lane, string.match(batch, '%.(%d+)$'), index, now, true)
    end
  end
end
apply_counters()
for _, lane in ipairs(redis.call('LRANGE', key .. ':lanes', 0, -1)) do activate(bid, lane, v[2]) end
for _, child in ipairs(fallbacks_of(bid)) do
  if redis.call('HGET', bc_key(child), 'state') == 'paused' then
    redis.call('HSET', bc_key(child), 'state', 'running', 'reason', '')
    for _, lane in ipairs(redis.call('LRANGE', bc_key(child) .. ':lanes', 0, -1)) do activate(child, lane, v[2]) end
    complete_if_done(child)
  end
end
complete_if_done(bid)
publish()
wake()
return 'ok'
