#!lua flags=allow-oom
-- unlay: remove some batches of a broadcast that is marked by remove.lua: their recipients, records and histories.
--
-- ARGV[3] broadcast  ARGV[4] msgpack: list of batches
-- Returns how many of them were there; -1 if the broadcast is not marked. Twice: 0.

local bid, there = ARGV[3], 0
local v = redis.call('HMGET', bc_key(bid), 'state', 'removed')
if v[1] and not v[2] then return -1 end
for _, batch in ipairs(cmsgpack.unpack(ARGV[4])) do
  local rows, some = redis.call('STRLEN', ledger_key(bid, batch)) / 32, {}
  for index = 0, rows - 1 do
    some[#some + 1] = P .. 'hist:' .. bid .. ':' .. batch .. ':' .. index
    if #some == 500 then redis.call('UNLINK', unpack(some)); some = {} end
  end
  if #some > 0 then redis.call('UNLINK', unpack(some)) end
  -- the records last: as long as they are there, so may histories be
  if redis.call('UNLINK', batch_key(bid, batch), ledger_key(bid, batch)) > 0 then there = there + 1 end
end
return there
