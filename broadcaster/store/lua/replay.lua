#!lua flags=allow-oom
-- replay: let dead letters of one batch be sent again, or lay them down for good.
--
-- ARGV[3] broadcast  ARGV[4] lane  ARGV[5] batch  ARGV[6] 'replay' | 'discard'  ARGV[7] reason code of a discarded one
-- ARGV[8] msgpack [index, attempt, index, attempt, …], indexes ascending, attempts as the asker saw them
-- Returns msgpack [verdict, changed, late, instead]: verdict 'ok', 'expired', 'removed' (people's data are) or the state that
--   forbids it ('gone' if unknown), which may be that of the broadcast whose SMS these are;
--   late: letters left alone because an earlier attempt turned out to be with Twilio; instead: because an SMS went in their
--   place, or will.
-- Letters of people who were forgotten are left alone. What may have gone again before Redis lost writes (again.lua) is in
-- doubt first.
-- A letter is (record, attempt): asked twice, the second time changes nothing, also if it has died again meanwhile.

local bid, lane, batch, again, reason = ARGV[3], ARGV[4], ARGV[5], ARGV[6] == 'replay', tonumber(ARGV[7])
local key, led = bc_key(bid), ledger_key(bid, batch)
local letters = cmsgpack.unpack(ARGV[8])
local b = redis.call('HMGET', key, 'state', 'expires', 'removed', 'parent')
local instead = 0
local function answer(verdict, changed, late) return cmsgpack.pack({verdict, changed, late, instead}) end
if not b[1] then return answer('gone', 0, 0) end
if b[3] then return answer('removed', 0, 0) end
if again then
  if b[1] ~= 'running' and b[1] ~= 'paused' and b[1] ~= 'completed' then return answer(b[1], 0, 0) end
  local forbidden = forbidden_by(b[4])
  if forbidden then return answer(forbidden, 0, 0) end
  if b[2] and b[2] ~= '' and tonumber(b[2]) * 1000000 <= now then return answer('expired', 0, 0) end
end

local raw = redis.call('GET', led) or ''
local batch_no = string.match(batch, '%.(%d+)$')
local pieces, copied, due, codes, changed, late = {}, 1, {}, {}, 0, 0
for i = 1, #letters, 2 do
  local index, at = letters[i], letters[i] * 32 + 1
  local state, spent, flags, segments, attempt, code = SKIPPED, 0, 0, 0, -1, 0
  if at >= copied and #raw >= at + 31 then state, spent, flags, segments, attempt, code = head_of(raw, at) end
  if again and never_again(flags) then
    if flags < GONE and attempt == letters[i + 1] then instead = instead + 1 end
    state = SKIPPED
  end
  if attempt == letters[i + 1] and (state == DEAD or (again and (state == UNDELIVERED or state == FAILED))) then
    local sid, began_s, changed_s = string.sub(raw, at + 8, at + 23), struct.unpack('>I4I4', raw, at + 24)
    if again and attempt > 1 and late_acceptance(bid, batch, index) then late = late + 1
    else
      if attempt == 1 then remember(bid, batch, index, {1, state, code, began_s, changed_s, '', '', ''}) end
      local told = sid == NO_SID and '' or sid
      local new, new_code, new_spent, wrote = RETRY, code, 0, nil
      if not again then new, new_code, new_spent = SKIPPED, reason, spent end
      remember(bid, batch, index, {attempt, new, new_code, began_s, now_s, told, '', again and 'replay' or 'discard'})
      -- the sid of a message that failed on its way stays until the intent: record.lua knows old news by it
      pieces[#pieces + 1] = string.sub(raw, copied, at - 1)
      if again and may_have_gone(state, code, began_s, changed_s) then
        new, wrote = IN_DOUBT, next_in_doubt(0, flags % 2, segments, attempt, sid, began_s)
      end
      pieces[#pieces + 1] = wrote or record(new, new_spent, again and flags % 2 or flags, segments, attempt, new_code, sid, began_s, now_s)
      copied = at + 32
      moved(bid, batch, state, new)
      codes[state .. ':' .. code] = (codes[state .. ':' .. code] or 0) - 1
      if new == RETRY then due[#due + 1] = now + index; due[#due + 1] = batch_no .. ':' .. index end
      changed = changed + 1
    end
  end
end
if changed == 0 then return answer('ok', 0, late) end
pieces[#pieces + 1] = string.sub(raw, copied)
redis.call('SETRANGE', led, 0, table.concat(pieces))
if not again then codes[SKIPPED .. ':' .. reason] = changed end
for field, change in pairs(codes) do redis.call('HINCRBY', key .. ':codes', field, change) end
if again then
  if #due > 0 then redis.call('ZADD', flow_key(bid, lane) .. ':retry', unpack(due)) end
  run_again(bid)
  if #due > 0 and b[1] ~= 'paused' then
    redis.call('ZADD', later_key(lane), 'LT', now, bid)
    lane_due(lane, now)
    wake()
  end
end
apply_counters()
return answer('ok', changed, late)
