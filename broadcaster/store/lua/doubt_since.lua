#!lua flags=no-writes
-- doubt_since: since when the oldest message in doubt is, of some broadcasts.
--
-- ARGV[3] msgpack: list of ids  ARGV[4] batches to look into at most, all in all
-- Returns [second, 1 if there are more batches than were looked into]; second is 0 where none is in doubt.
--   Whoever settles doubt has written since when that is, too (`:looks`), which speaks for batches that were not looked into.

local left, oldest, more = tonumber(ARGV[4]), 0, 0
local function older(at) if at and at > 0 and (oldest == 0 or at < oldest) then oldest = at end end
for _, bid in ipairs(cmsgpack.unpack(ARGV[3])) do
  local doubt = bc_key(bid) .. ':doubt'
  if redis.call('HLEN', doubt) > left then
    more = 1
    local looks = redis.call('GET', bc_key(bid) .. ':looks')
    older(looks and tonumber(cjson.decode(looks).since))
  end
  if left > 0 then
    for _, batch in ipairs(redis.call('HSCAN', doubt, '0', 'COUNT', left)[2]) do
      -- fields and values alternate; a value is no batch's name, and there is no ledger under it
      local raw = left > 0 and string.find(batch, '.', 1, true) and redis.call('GET', ledger_key(bid, batch))
      if raw then
        left = left - 1
        for at = 1, #raw, 32 do
          if string.byte(raw, at) % 16 == IN_DOUBT then older((struct.unpack('>I4', raw, at + 28))) end
        end
      end
    end
  end
end
return {oldest, more}
