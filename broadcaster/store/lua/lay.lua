#!lua
-- lay: write some batches of a list that is being imported, with their entries in the person index: all or nothing.
--
-- ARGV[3] broadcast  ARGV[4] its serial number  ARGV[5] msgpack: list of batch, packed recipients, records, batch, …
-- ARGV[6] msgpack: list of bucket (three hex digits), entries (store/who.py), bucket, …: of all recipients
-- Returns 'ok', or the state that forbids it ('gone' if there is no such broadcast). Twice: the first batch is there, so
--   nothing is done.

local bid = ARGV[3]
local v = redis.call('HMGET', bc_key(bid), 'state', 'serial')
if v[1] ~= 'importing' then return v[1] or 'gone' end
if v[2] ~= ARGV[4] then return 'gone' end
local batches, entries = cmsgpack.unpack(ARGV[5]), cmsgpack.unpack(ARGV[6])
if redis.call('EXISTS', ledger_key(bid, batches[1])) == 1 then return 'ok' end
for i = 1, #entries, 2 do redis.call('APPEND', P .. 'who:' .. entries[i], entries[i + 1]) end
for i = 1, #batches, 3 do
  redis.call('SET', batch_key(bid, batches[i]), batches[i + 1])
  redis.call('SET', ledger_key(bid, batches[i]), batches[i + 2])
end
return 'ok'
