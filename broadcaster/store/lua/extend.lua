#!lua
-- extend: one more part of an open draft's list: all of it or nothing, once per name.
--
-- ARGV[3] broadcast  ARGV[4] parts it has, as the caller knows it  ARGV[5] name of this part
-- ARGV[6] what was asked for  ARGV[7] what to answer (JSON)  ARGV[8] the part's addresses, for finding duplicates
-- ARGV[9] msgpack: list of [lane's index, packed recipients, records, entries of the person index, {state: n}, {'state:code': n},
--   recipients to be sent to, their segments]
-- ARGV[10] msgpack: list of packed blocks of rejected rows  ARGV[11] how many rows were rejected
-- Returns [verdict, asked, answer, total]: 'ok'; 'known' (a part of that name is there: compare what was asked for);
--   'moved' (others have come since: look for duplicates again); or the state that forbids it, 'closed' for a draft that
--   has its list.

local bid, name = ARGV[3], ARGV[5]
local key = bc_key(bid)
local known = redis.call('HGET', key .. ':chunks', name)
if known then
  local k = cmsgpack.unpack(known)
  return {'known', k[1], k[2], k[3]}
end
local v = redis.call('HMGET', key, 'state', 'open', 'total', 'serial')
if v[1] ~= 'draft' then return {v[1] or 'gone', '', '', 0} end
if not v[2] then return {'closed', '', '', 0} end
if redis.call('LLEN', key .. ':seen') ~= tonumber(ARGV[4]) then return {'moved', '', '', 0} end

local lanes = redis.call('LRANGE', key .. ':lanes', 0, -1)
local total = 0
for _, b in ipairs(cmsgpack.unpack(ARGV[9])) do
  local flow = flow_key(bid, lanes[b[1] + 1])
  local number = redis.call('HINCRBY', flow, 'n', 1) - 1
  local batch = b[1] .. '.' .. string.format('%d', number)
  enter(tonumber(v[4]), number * #lanes + b[1], b[4])
  redis.call('SET', batch_key(bid, batch), b[2])
  redis.call('SET', ledger_key(bid, batch), b[3])
  for state, n in pairs(b[5]) do
    redis.call('HINCRBY', key, 'n' .. state, n)
    total = total + n
  end
  for code, n in pairs(b[6]) do redis.call('HINCRBY', key .. ':codes', code, n) end
  redis.call('HINCRBY', flow, 'recipients', b[7])
  redis.call('HINCRBY', flow, 'segments', b[8])
end
local whole = redis.call('HINCRBY', key, 'total', total)
for _, block in ipairs(cmsgpack.unpack(ARGV[10])) do redis.call('RPUSH', key .. ':rejects', block) end
if tonumber(ARGV[11]) > 0 then redis.call('HINCRBY', key, 'rejected', ARGV[11]) end
redis.call('RPUSH', key .. ':seen', ARGV[8])
redis.call('HSET', key .. ':chunks', name, cmsgpack.pack({ARGV[6], ARGV[7], whole}))
return {'ok', ARGV[6], ARGV[7], whole}
