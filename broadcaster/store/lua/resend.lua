#!lua flags=allow-oom
-- resend: let failed deliveries be sent again later, by themselves. It spends an attempt each (a person's retry: replay.lua).
--
-- ARGV[3] attempts that a message may spend
-- ARGV[4] msgpack: list of [broadcast, batch, failures], failures a list of
--   [index, attempt, code, at (unix second from which it may go), most (times that a message goes again for this code)]
-- Returns how many wait now, those included that are in doubt first: they may have gone again before Redis lost writes
-- (again.lua). Left alone is what has another attempt, state or code by now, what has spent its attempts or
-- went again `most` times, what would expire before, whose earlier attempt turned out to be with Twilio, whose person was
-- forgotten, in whose place an SMS went, which somebody canceled; and all of a broadcast that is canceled or whose people's
-- data are removed, and of its SMS.
-- Twice with the same input changes nothing the second time.

local budget = tonumber(ARGV[3])
local waiting = 0

-- Each code has times of its own: a template goes after 63016 also to whom another reason had sent it again before.
local function times_resent(bid, batch, index, code)
  local times = 0
  for _, raw in ipairs(redis.call('LRANGE', P .. 'hist:' .. bid .. ':' .. batch .. ':' .. index, 0, -1)) do
    local e = cmsgpack.unpack(raw)
    if e[8] == 'resend' and e[3] == code then times = times + 1 end
  end
  return times
end

local function resend(bid, batch, lane, o, b)
  local index, at_s = o[1], o[4]
  local led = ledger_key(bid, batch)
  local raw = redis.call('GETRANGE', led, index * 32, index * 32 + 31)
  if #raw < 32 then return false end
  local state, spent, flags, segments, attempt, code = head_of(raw, 1)
  if (state ~= UNDELIVERED and state ~= FAILED) or attempt ~= o[2] or code ~= o[3] then return false end
  if never_again(flags) or stopped(flags) then return false end
  if spent + 1 >= budget or times_resent(bid, batch, index, code) >= o[5] then return false end
  if b[2] and b[2] ~= '' and tonumber(b[2]) <= math.max(at_s, now_s) then return false end
  if attempt > 1 and late_acceptance(bid, batch, index) then return false end
  local sid, began_s, changed_s = string.sub(raw, 9, 24), struct.unpack('>I4I4', raw, 25)
  local told = sid == NO_SID and '' or sid
  if attempt == 1 then remember(bid, batch, index, {1, state, code, began_s, changed_s, told, '', ''}) end
  -- with its time: settle.lua keeps to that where it has to be shown first that it did not go
  remember(bid, batch, index, {attempt, RETRY, code, began_s, now_s, told, '', 'resend', at_s})
  local new, more = RETRY, math.min(15, spent + 1)
  if may_have_gone(state, code, began_s, changed_s) then
    new = IN_DOUBT
    redis.call('SETRANGE', led, index * 32, next_in_doubt(more, flags % 2, segments, attempt, sid, began_s))
  else
    -- the sid of what failed on its way stays until the intent: record.lua knows old news by it
    redis.call('SETRANGE', led, index * 32, record(RETRY, more, flags % 2, segments, attempt, code, sid, began_s, now_s))
  end
  moved(bid, batch, state, new)
  redis.call('HINCRBY', bc_key(bid) .. ':codes', state .. ':' .. code, -1)
  redis.call('HINCRBY', bc_key(bid), 'retried', 1)
  if new == IN_DOUBT then return true end
  retry_at(bid, lane, string.match(batch, '%.(%d+)$'), index, math.max(now, at_s * 1000000), b[1] ~= 'paused')
  return true
end

for _, group in ipairs(cmsgpack.unpack(ARGV[4])) do
  local bid, batch = group[1], group[2]
  local key = bc_key(bid)
  local b = redis.call('HMGET', key, 'state', 'expires', 'removed', 'parent')
  local lane = redis.call('LINDEX', key .. ':lanes', string.match(batch, '^%d+'))
  local any = false
  if lane and not b[3] and not forbidden_by(b[4]) and (b[1] == 'running' or b[1] == 'paused' or b[1] == 'completed') then
    for _, o in ipairs(group[3]) do
      if resend(bid, batch, lane, o, b) then
        waiting = waiting + 1
        any = true
      end
    end
  end
  if any then run_again(bid) end
end
apply_counters()
return waiting
