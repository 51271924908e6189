#!lua flags=allow-oom
-- settle: end doubts of which no evidence of acceptance was found: a new try, a dead letter, or nothing more to do.
-- (Acceptance found is an outcome like any other: record.lua.)
--
-- ARGV[3] attempts that a message may spend
-- ARGV[4] msgpack: list of [lane, broadcast, batch, verdicts], verdicts a list of
--   [index, attempt, changed (s), absent (0|1), hold (0|1)]
--   changed: as the record stood when it was judged. absent: the list proves that Twilio hasn't got it; without that it
--   becomes a dead letter. hold: the policy forbids a new try.
-- While Redis is being rewound nothing is settled: what is under way isn't known yet.
-- Returns msgpack [retried, dead, skipped, accepted, completed, became]: counts, broadcasts that this completed, and
--   [state * 2^24 + code, n, …] of the records that went to dead or skipped.
-- Twice with the same input changes nothing the second time: only a record in doubt, at that attempt, is settled.

local most = tonumber(ARGV[3])
local became = {}
local done = {[RETRY] = 0, [DEAD] = 0, [SKIPPED] = 0, [ACCEPTED] = 0}

local function verdict_of(v, b, spent, flags)
  if v[4] ~= 1 then return DEAD, UNKNOWN, 4 end
  if flags >= GONE then return SKIPPED, FORGOTTEN, 3 end
  if b[1] == 'canceled' then return SKIPPED, CANCELED, 3 end
  if b[2] and b[2] ~= '' and tonumber(b[2]) * 1000000 <= now then return SKIPPED, EXPIRED, 3 end
  if v[5] == 1 or spent >= most or never_again(flags) then return DEAD, UNKNOWN, 4 end
  return RETRY, nil, 0
end

-- What was in doubt only because Redis had lost writes goes back into its flow, which gives nothing of it any more: as
-- ranges, since that may be everything.
local function put_back(bid, lane, batch, from, to)
  redis.call('LPUSH', flow_key(bid, lane) .. ':back', string.match(batch, '%.(%d+)$') .. ':' .. from .. ':' .. to)
end

-- When what goes again by itself is due, and why it does (resend.lua has written that), if that is yet to come.
local function resend_due(bid, batch, index, attempt)
  for _, raw in ipairs(redis.call('LRANGE', P .. 'hist:' .. bid .. ':' .. batch .. ':' .. index, 0, -1)) do
    local e = cmsgpack.unpack(raw)
    if e[8] == 'resend' and e[1] == attempt and tonumber(e[9] or 0) > now_s then return e[9], e[3] end
  end
end

local function settle(lane, bid, batch, v, b)
  local led, index = ledger_key(bid, batch), v[1]
  local raw = redis.call('GETRANGE', led, index * 32, index * 32 + 31)
  if #raw < 32 then return end
  local state, spent, flags, segments, attempt, code = head_of(raw, 1)
  local began_s, changed_s = struct.unpack('>I4I4', raw, 25)
  if state ~= IN_DOUBT or attempt ~= v[2] or changed_s ~= v[3] then return end
  -- an answer that didn't come has spent its attempt already, a lost lease has not
  if code == LEASE_LOST then spent = math.min(15, spent + 1) end
  local sid, new, told, evidence, word, due = NO_SID, nil, nil, nil, nil, nil
  local late = attempt > 1 and late_acceptance(bid, batch, index)
  if late then
    -- an earlier attempt is known to be with Twilio: there is nothing to send again
    new, told, sid, flags, word = late[2], late[3], late[6], with_flags(flags, late[9]), 'list'
  else
    new, told, evidence = verdict_of(v, b, code == REWOUND and 0 or spent, flags)
    if new == RETRY and code == REWOUND then
      due, told = resend_due(bid, batch, index, attempt - 1)
      if not due then new, told = QUEUED, 0 end
    end
    flags = bit.bor(bit.band(flags, 0xF1), evidence * 2)
    word = new == DEAD and 'policy' or 'absent'
  end
  told = told or code
  redis.call('SETRANGE', led, index * 32, record(new, spent, flags, segments, attempt, told, sid, began_s, now_s))
  moved(bid, batch, IN_DOUBT, new)
  message_changed(bid, batch, IN_DOUBT, new, index, attempt, told, sid, flags)
  if new ~= QUEUED and not due then remember(bid, batch, index, {attempt, new, told, began_s, now_s, late and sid or '', '', word}) end
  if new >= 8 then redis.call('HINCRBY', bc_key(bid) .. ':codes', new .. ':' .. told, 1) end
  if falls_back(bid, new, told) then follow(bid, batch, index, attempt, new, told, sid, flags, began_s) end
  if new == RETRY then
    if not due then redis.call('HINCRBY', bc_key(bid), 'retried', 1) end
    retry_at(bid, lane, string.match(batch, '%.(%d+)$'), index, due and due * 1000000 or now, b[1] == 'running')
  end
  if new >= DEAD then
    local what = new * 16777216 + told
    became[what] = (became[what] or 0) + 1
  end
  local kind = new == QUEUED and RETRY or done[new] and new or ACCEPTED
  done[kind] = done[kind] + 1
  return new == QUEUED
end

local groups = cmsgpack.unpack(ARGV[4])
if redis.call('HEXISTS', P .. 'account', 'rewind') == 1 then groups = {} end
for _, group in ipairs(groups) do
  local lane, bid, batch, verdicts = group[1], group[2], group[3], group[4]
  local b = redis.call('HMGET', bc_key(bid), 'state', 'expires', 'cls')
  local from, to, any
  for _, v in ipairs(verdicts) do
    if settle(lane, bid, batch, v, b) then
      if to ~= v[1] then
        if from then put_back(bid, lane, batch, from, to) end
        from = v[1]
      end
      to, any = v[1] + 1, true
    end
  end
  if any then put_back(bid, lane, batch, from, to) end
  if any and b[1] == 'running' then activate(bid, lane, b[3]) end
end
apply_counters()
if done[RETRY] > 0 then wake() end
return cmsgpack.pack({done[RETRY], done[DEAD], done[SKIPPED], done[ACCEPTED], completed, flat(became)})
