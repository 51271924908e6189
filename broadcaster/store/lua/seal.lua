#!lua
-- seal: an imported list is whole. Its flows exist from now on, but stand on no lane until start.lua.
--
-- ARGV[3] broadcast  ARGV[4] 'draft' | 'scheduled'  ARGV[5] unix second to start at, or ''
-- ARGV[6] expires (unix second) or ''  ARGV[7] rate (segments a second) or ''  ARGV[8] fingerprint
-- ARGV[9] msgpack [lanes: [name, rate, batches, recipients to be sent to, their segments], counts: {state: n}, codes: {'state:code': n}, facts: {name: text}]
--   facts with `windows`: it may send at certain hours only (opens_at in prelude.lua)
-- Returns 'ok', or the state that forbids it: an import is sealed only while its importer holds its lease; 'incomplete'
--   if the ledger does not hold a record for each recipient.
--   Asked again after the same seal: 'ok', whatever became of it since (a schedule may have started it).

local bid = ARGV[3]
local key = bc_key(bid)
local state = redis.call('HGET', key, 'state')
if state ~= 'importing' and redis.call('HGET', key, 'print') == ARGV[8] then return 'ok' end
if state ~= 'importing' then return state or 'gone' end
if redis.call('EXISTS', key .. ':importer') == 0 then return 'abandoned' end
local body = cmsgpack.unpack(ARGV[9])
local total, written = 0, 0
for i, lane in ipairs(body[1]) do
  for k = 0, lane[3] - 1 do written = written + redis.call('STRLEN', ledger_key(bid, (i - 1) .. '.' .. k)) / 32 end
end
for _, n in pairs(body[2]) do total = total + n end
-- a Redis that lost its last writes, say, and its importer went on
if written ~= total then return 'incomplete' end
redis.call('DEL', key .. ':lanes')
for i, lane in ipairs(body[1]) do
  redis.call('RPUSH', key .. ':lanes', lane[1])
  redis.call('HSET', flow_key(bid, lane[1]), 'li', i - 1, 'n', lane[3], 'head', 0, 'pos', 0,
             'recipients', lane[4] or 0, 'segments', lane[5] or 0)
  redis.call('SADD', P .. 'lanes', lane[1])
  redis.call('HSETNX', lane_key(lane[1]), 'rate', lane[2])
end
for s, n in pairs(body[2]) do
  redis.call('HSET', key, 'n' .. s, n)
end
for c, n in pairs(body[3]) do redis.call('HSET', key .. ':codes', c, n) end
for name, text in pairs(body[4]) do redis.call('HSET', key, name, text) end
redis.call('HSET', key, 'total', total, 'state', ARGV[4], 'at', ARGV[5], 'expires', ARGV[6], 'rate', ARGV[7], 'print', ARGV[8])
if ARGV[4] == 'scheduled' then redis.call('ZADD', P .. 'scheduled', ARGV[5], bid) end
if body[4].windows then redis.call('SADD', P .. 'windowed', bid) end
redis.call('SREM', P .. 'importing', bid)
redis.call('DEL', key .. ':importer')
return 'ok'
