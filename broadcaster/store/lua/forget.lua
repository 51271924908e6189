#!lua flags=allow-oom
-- forget: put a tombstone in a person's place in one batch, and see to it that nothing more of it leaves, in one step.
--
-- ARGV[3] broadcast or stream  ARGV[4] lane  ARGV[5] batch  ARGV[6] SHA-1 (hex) of the packed recipients that its caller has seen
-- ARGV[7] what takes their place  ARGV[8] msgpack: list of the person's indexes in it
-- Returns [verdict, skipped, dead, sending]: 'ok', or 'changed' if the batch is another by now ('gone': there is none).
--   Unsent records end as `skipped`; those in doubt as dead letters, since nobody can ask for evidence any more (unless it
--   is known that an earlier attempt was accepted). What is being sent is left to its worker. All of them carry the flag
--   GONE from then on: they are not tried again, whatever comes (record.lua, settle.lua, replay.lua).
-- Twice with the same input: 'changed', and nothing changes.

local bid, lane, batch = ARGV[3], ARGV[4], ARGV[5]
local bat, led = batch_key(bid, batch), ledger_key(bid, batch)
local seen = redis.call('GET', bat)
if not seen then return {'gone', 0, 0, 0} end
if redis.sha1hex(seen) ~= ARGV[6] then return {'changed', 0, 0, 0} end
local batch_no = string.match(batch, '%.(%d+)$')
local skipped, dead, sending, codes = 0, 0, 0, {}

local function ended(state, code) codes[state .. ':' .. code] = (codes[state .. ':' .. code] or 0) + 1 end

for _, index in ipairs(cmsgpack.unpack(ARGV[8])) do
  local raw = redis.call('GETRANGE', led, index * 32, index * 32 + 31)
  if #raw == 32 then
    local state, spent, flags, segments, attempt, code = head_of(raw, 1)
    local sid, began_s, changed_s = string.sub(raw, 9, 24), struct.unpack('>I4I4', raw, 25)
    local new = state
    if state == QUEUED or state == RETRY then
      new, code, sid, changed_s = SKIPPED, FORGOTTEN, NO_SID, now_s
      if state == RETRY then redis.call('ZREM', flow_key(bid, lane) .. ':retry', batch_no .. ':' .. index) end
      skipped = skipped + 1
      ended(SKIPPED, FORGOTTEN)
    elseif state == IN_DOUBT then
      local late = attempt > 1 and late_acceptance(bid, batch, index)
      if late then new, code, sid, flags = late[2], late[3], late[6], with_flags(flags, late[9])
      else new, code, flags = DEAD, UNKNOWN, with_flags(flags, 8) end
      changed_s = now_s
      if new == DEAD then dead = dead + 1 end
      if new >= 8 then ended(new, code) end
      remember(bid, batch, index, {attempt, new, code, began_s, now_s, late and sid or '', '', late and 'list' or 'policy'})
    elseif state == SENDING then sending = sending + 1 end
    redis.call('SETRANGE', led, index * 32, record(new, spent, bit.bor(flags, GONE), segments, attempt, code, sid, began_s, changed_s))
    if new ~= state then
      moved(bid, batch, state, new)
      message_changed(bid, batch, state, new, index, attempt, code, sid, flags)
    end
  end
end
redis.call('SET', bat, ARGV[7], 'KEEPTTL')
for field, n in pairs(codes) do redis.call('HINCRBY', bc_key(bid) .. ':codes', field, n) end
apply_counters()
return {'ok', skipped, dead, sending}
