#!lua flags=allow-oom
-- resume: put a paused broadcast's flows back at the clock of their lanes, with those of its SMS (but for those that were
-- paused by themselves). Messages that a whole run of content refusals had ended are queued again (or in doubt first, where
-- they may have gone again before Redis lost writes: again.lua), and failures counted anew.
--
-- ARGV[3] broadcast
-- Returns 'ok', or the state it is in ('gone' if unknown); SMS stay 'paused' while their broadcast is.

local bid = ARGV[3]
local v = redis.call('HMGET', bc_key(bid), 'state', 'cls', 'parent')
if not v[1] then return 'gone' end
if v[1] ~= 'paused' then return v[1] end
if v[3] and redis.call('HGET', bc_key(v[3]), 'state') == 'paused' then return 'paused' end

-- But for who was forgotten meanwhile, or gets an SMS instead.
local function put_back_run(one)
  local key = bc_key(one)
  local run = redis.call('LRANGE', key .. ':run', 0, -1)
  if #run < CONTENT_RUN then return end
  redis.call('DEL', key .. ':run')
  for _, entry in ipairs(run) do
    local lane, batch, i = string.match(entry, '^(.-)\n(.-)\n(%d+)$')
    local index = tonumber(i)
    local raw = redis.call('GETRANGE', ledger_key(one, batch), index * 32, index * 32 + 31)
    if #raw == 32 then
      local state, _, flags, segments, attempt, code = head_of(raw, 1)
      if state == DEAD and not never_again(flags) then
        local began_s, changed_s = struct.unpack('>I4I4', raw, 25)
        local doubtful = may_have_gone(state, code, began_s, changed_s)
        redis.call('SETRANGE', ledger_key(one, batch), index * 32,
                   doubtful and next_in_doubt(0, flags, segments, attempt, NO_SID, began_s)
                   or record(RETRY, 0, flags, segments, attempt, code, NO_SID, began_s, now_s))
        moved(one, batch, DEAD, doubtful and IN_DOUBT or RETRY)
        redis.call('HINCRBY', key .. ':codes', '10:' .. code, -1)
        if not doubtful then retry_at(one, lane, string.match(batch, '%.(%d+)$'), index, now, true) end
      end
    end
  end
end

local function go_on(one)
  local key = bc_key(one)
  redis.call('HSET', key, 'state', 'running', 'reason', '', 'resumed', now_s)
  redis.call('HDEL', key, 'window', 'clean', 'early', 'told', 'told_clean', 'told_early', 'own')
  put_back_run(one)
  for _, lane in ipairs(redis.call('LRANGE', key .. ':lanes', 0, -1)) do activate(one, lane, v[2]) end
end

go_on(bid)
redis.call('HSETNX', bc_key(bid), 'started', now_s) -- it was paused when its time came
broadcast_changed('broadcast.started', bid, 'paused', 'running', '')
local resumed = {}
for _, child in ipairs(fallbacks_of(bid)) do
  local c = redis.call('HMGET', bc_key(child), 'state', 'own')
  if c[1] == 'paused' and not c[2] then
    go_on(child)
    resumed[#resumed + 1] = child
  end
end
apply_counters()
for _, child in ipairs(resumed) do complete_if_done(child) end
complete_if_done(bid)
publish()
wake()
return 'ok'
