#!lua flags=allow-oom
-- skip: end the unsent records of one batch as `skipped`.
--
-- ARGV[3] broadcast  ARGV[4] lane  ARGV[5] batch  ARGV[6] our reason code
-- Returns how many records changed. What is sending or in doubt is left alone; while Redis is being rewound so is what has
-- expired, as it may have left in time (it is found again).

local bid, lane, batch = ARGV[3], ARGV[4], ARGV[5]
local led = ledger_key(bid, batch)
if tonumber(ARGV[6]) == EXPIRED and redis.call('HEXISTS', P .. 'account', 'rewind') == 1 then return 0 end
local raw = redis.call('GET', led)
if not raw then return 0 end
local batch_no = string.match(batch, '%.(%d+)$')
local pieces, changed = {}, 0
for at = 1, #raw, 32 do
  local state, spent, flags, segments, attempt = head_of(raw, at)
  if state == QUEUED or state == RETRY then
    pieces[#pieces + 1] = record(SKIPPED, spent, flags, segments, attempt, tonumber(ARGV[6]), NO_SID,
                                 struct.unpack('>I4', raw, at + 24), now_s)
    if state == RETRY then redis.call('ZREM', flow_key(bid, lane) .. ':retry', batch_no .. ':' .. ((at - 1) / 32)) end
    moved(bid, batch, state, SKIPPED)
    changed = changed + 1
  else pieces[#pieces + 1] = string.sub(raw, at, at + 31) end
end
if changed > 0 then
  redis.call('SET', led, table.concat(pieces), 'KEEPTTL')
  redis.call('HINCRBY', bc_key(bid) .. ':codes', '11:' .. ARGV[6], changed)
  apply_counters()
end
return changed
