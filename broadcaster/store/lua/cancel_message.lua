#!lua flags=allow-oom
-- cancel_message: end one unsent message as `skipped`. No SMS follows it either, should an attempt before turn out to have failed.
--
-- ARGV[3] broadcast or stream  ARGV[4] lane  ARGV[5] batch  ARGV[6] index
-- Returns [changed, state]: 1 and `skipped` if this call ended it; else 0 and the state that it is in, -1 if there is no
--   such message. What is sending, in doubt or with Twilio is left alone.

local bid, lane, batch, index = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local led = ledger_key(bid, batch)
local raw = redis.call('GETRANGE', led, index * 32, index * 32 + 31)
if #raw < 32 then return {0, -1} end
local state, spent, flags, segments, attempt = head_of(raw, 1)
if state ~= QUEUED and state ~= RETRY then return {0, state} end
redis.call('SETRANGE', led, index * 32, record(SKIPPED, spent, bit.bor(flags, STOPPED), segments, attempt, CANCELED, NO_SID,
                                               struct.unpack('>I4', raw, 25), now_s))
if state == RETRY then
  redis.call('ZREM', flow_key(bid, lane) .. ':retry', string.match(batch, '%.(%d+)$') .. ':' .. index)
end
moved(bid, batch, state, SKIPPED)
redis.call('HINCRBY', bc_key(bid) .. ':codes', SKIPPED .. ':' .. CANCELED, 1)
apply_counters()
return {1, SKIPPED}
