#!lua
-- append: take single messages into their stream, one batch for each of some lanes: all of them or none. A stream that
-- isn't there begins.
--
-- ARGV[3] name under which the answer is kept  ARGV[4] number of the call under that name  ARGV[5] seconds it is kept
--   The same number gets the same answer and changes nothing; a lower one comes late, over a connection that its caller
--   has given up, and gets 'late'.
-- ARGV[6] print: what all messages of the stream have in common  ARGV[7] id of the stream, if one has to begin
-- ARGV[8] spec (msgpack)  ARGV[9] class u|n|b  ARGV[10] name  ARGV[11] expires (unix second) or ''
-- ARGV[12] rate (segments a second) or ''  ARGV[13] msgpack: list of its lanes, [name, rate]
-- ARGV[14] msgpack: list of [lane (from 0), packed recipients, records, bucket and check of each (5 bytes),
--   {state: n}, {'state:code': n}]
-- ARGV[15] opt-out epoch that the caller has seen
-- Returns msgpack [verdict, stream, batches, known]: 'ok', and the names of the batches in order; known 1 where the answer
--   was there. 'late'. 'optouts': there are other opt-outs than the caller knows. 'server': nobody has asked guard.lua
--   yet whether this server has lost writes. Else the id is taken by a stream in the state that is told: name another.
-- A paused stream takes messages, which wait. One that is canceled, or being removed, takes none, nor does one that
-- began before this server did or had lost writes: what is lost with a server's last writes are names of batches, which workers may remember with what
-- was in them, and which must never be given again.

local PRINT_KEPT_S = 7200
local memo, number = P .. 'append:' .. ARGV[3], tonumber(ARGV[4])
local last = redis.call('HMGET', memo, 'number', 'answer')
if last[1] and number <= tonumber(last[1]) then
  if number < tonumber(last[1]) then return cmsgpack.pack({'late', '', {}, 0}) end
  local known = cmsgpack.unpack(last[2])
  known[4] = 1
  return cmsgpack.pack(known)
end

local run = string.match(redis.call('INFO', 'server'), 'run_id:([^\r\n]+)')
local looked_at = redis.call('HGET', P .. 'server', 'run')
if looked_at and looked_at ~= run then return cmsgpack.pack({'server', '', {}, 0}) end
if (redis.call('GET', P .. 'optouts:epoch') or '0') ~= ARGV[15] then return cmsgpack.pack({'optouts', '', {}, 0}) end

local lanes, batches = cmsgpack.unpack(ARGV[13]), cmsgpack.unpack(ARGV[14])
local bid, cls = redis.call('GET', P .. 'stream:' .. ARGV[6]), ARGV[9]
local v = bid and redis.call('HMGET', bc_key(bid), 'state', 'serial', 'run', 'after') or {}
local state, serial = v[1], tonumber(v[2])
local loss = redis.call('HGET', P .. 'rewound', 'at') or ''
local open = (state == 'running' or state == 'paused' or state == 'completed') and v[3] == run and v[4] == loss

local function begin()
  bid, state, serial = ARGV[7], 'running', new_serial(ARGV[7])
  redis.call('HSET', bc_key(bid), 'state', state, 'reason', '', 'created', now_s, 'started', now_s, 'spec', ARGV[8],
             'cls', cls, 'name', ARGV[10], 'idem', '', 'total', 0, 'kind', 'stream', 'serial', serial, 'run', run,
             'after', loss, 'at', '', 'expires', ARGV[11], 'rate', ARGV[12], 'print', '')
  redis.call('ZADD', P .. 'streams', now, bid)
  redis.call('SADD', P .. 'active', bid)
  for i, lane in ipairs(lanes) do
    redis.call('RPUSH', bc_key(bid) .. ':lanes', lane[1])
    redis.call('HSET', flow_key(bid, lane[1]), 'li', i - 1, 'n', 0, 'head', 0, 'pos', 0)
    redis.call('SADD', P .. 'lanes', lane[1])
    redis.call('HSETNX', lane_key(lane[1]), 'rate', lane[2])
  end
  redis.call('SET', P .. 'stream:' .. ARGV[6], bid, 'EX', PRINT_KEPT_S)
end

if not open then
  local taken = redis.call('HGET', bc_key(ARGV[7]), 'state')
  if taken then return cmsgpack.pack({taken, bid or ARGV[7], {}, 0}) end
  begin()
end

local key = bc_key(bid)
local names, total, queued = {}, 0, {}
for _, b in ipairs(batches) do
  local li, lane = b[1], lanes[b[1] + 1][1]
  local batch_no = redis.call('HINCRBY', flow_key(bid, lane), 'n', 1) - 1
  local batch = li .. '.' .. string.format('%d', batch_no)
  enter(serial, batch_no * #lanes + li, b[4])
  redis.call('SET', batch_key(bid, batch), b[2])
  redis.call('SET', ledger_key(bid, batch), b[3])
  for s, n in pairs(b[5]) do
    redis.call('HINCRBY', key, 'n' .. s, n)
    total = total + n
    if tonumber(s) == QUEUED then queued[lane] = true end
  end
  for code, n in pairs(b[6]) do redis.call('HINCRBY', key .. ':codes', code, n) end
  names[#names + 1] = batch
end
redis.call('HINCRBY', key, 'total', total)
if next(queued) and state == 'completed' then
  redis.call('HSET', key, 'state', 'running', 'reason', '')
  redis.call('HDEL', key, 'finished')
  redis.call('SADD', P .. 'active', bid)
  state = 'running'
end
if state == 'running' then
  for lane in pairs(queued) do activate(bid, lane, cls) end
  if next(queued) then wake() else complete_if_done(bid) end
end
local answer = cmsgpack.pack({'ok', bid, names, 0})
redis.call('HSET', memo, 'number', number, 'answer', answer)
redis.call('EXPIRE', memo, ARGV[5])
return answer
