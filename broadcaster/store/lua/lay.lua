#!lua
-- lay: write one batch of a list that is being imported, with its entries in the person index: all of it or nothing.
--
-- ARGV[3] broadcast  ARGV[4] batch  ARGV[5] its place (store/who.py)  ARGV[6] packed recipients  ARGV[7] their records
-- ARGV[8] bucket and check of each recipient, 5 bytes
-- Returns 'ok', or the state that forbids it ('gone' if there is no such broadcast). A batch that is there already is
--   left as it is.

local bid, batch = ARGV[3], ARGV[4]
local v = redis.call('HMGET', bc_key(bid), 'state', 'serial')
if v[1] ~= 'importing' then return v[1] or 'gone' end
if redis.call('EXISTS', ledger_key(bid, batch)) == 1 then return 'ok' end
enter(tonumber(v[2]), tonumber(ARGV[5]), ARGV[8])
redis.call('SET', batch_key(bid, batch), ARGV[6])
redis.call('SET', ledger_key(bid, batch), ARGV[7])
return 'ok'
