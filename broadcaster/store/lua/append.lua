#!lua
-- append: take single messages into their stream, which begins if it isn't there: each item's batches, or none of them.
--
-- ARGV[3] print: what all messages of the stream have in common  ARGV[4] id of the stream, if one has to begin
-- ARGV[5] msgpack [spec (msgpack), class u|n|b, name, expires (unix second) or '', rate (segments a second) or '',
--   lanes: list of [name, rate], until when Twilio keeps them back (unix second) or '']
-- ARGV[6] opt-out epoch that the caller has seen
-- ARGV[7] msgpack: list of items [memo, number, seconds, batches]: the answer is kept for so long under the name `memo`.
--   The same number gets the same answer again and changes nothing; a lower one comes late, over a connection that its
--   caller has given up, and gets 'late'. Batches are a list of [lane (from 0), packed recipients, records, bucket and
--   check of each (5 bytes), {state: n}, {'state:code': n}].
-- Returns msgpack: for each item [verdict, stream, batches, known]: 'ok', and the names of its batches in order; known 1
--   where the answer was there. 'late'. 'optouts': there are other opt-outs than the caller knows. 'server': nobody has
--   asked guard.lua yet whether this server has lost writes. Else the id is taken by a stream in the state that is told:
--   name another.
-- A paused stream takes messages, which wait. One that is canceled, or being removed, takes none, nor does one that
-- began before this server did or had lost writes: what is lost with a server's last writes are names of batches, which
-- workers may remember with what was in them, and which must never be given again.

local PRINT_KEPT_S = 7200
local spec, cls, name, expires, rate, lanes, send_at = unpack(cmsgpack.unpack(ARGV[5]))
local bid, state, serial, refused
local total, states, codes, queued = 0, {}, {}, {}

local function begin(run, loss)
  bid, state, serial = ARGV[4], 'running', new_serial(ARGV[4])
  redis.call('HSET', bc_key(bid), 'state', state, 'reason', '', 'created', now_s, 'started', now_s, 'spec', spec,
             'cls', cls, 'name', name, 'idem', '', 'total', 0, 'kind', 'stream', 'serial', serial, 'run', run,
             'after', loss, 'at', '', 'expires', expires, 'rate', rate, 'print', '')
  redis.call('ZADD', P .. 'streams', now, bid)
  if send_at ~= '' then redis.call('ZADD', P .. 'handed', send_at, bid) end
  redis.call('SADD', P .. 'active', bid)
  for i, lane in ipairs(lanes) do
    redis.call('RPUSH', bc_key(bid) .. ':lanes', lane[1])
    redis.call('HSET', flow_key(bid, lane[1]), 'li', i - 1, 'n', 0, 'head', 0, 'pos', 0)
    redis.call('SADD', P .. 'lanes', lane[1])
    redis.call('HSETNX', lane_key(lane[1]), 'rate', lane[2])
  end
  redis.call('SET', P .. 'stream:' .. ARGV[3], bid, 'EX', PRINT_KEPT_S)
end

-- Find or begin the stream; returns what forbids it.
local function open()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:([^\r\n]+)')
  local looked_at = redis.call('HGET', P .. 'server', 'run')
  if looked_at and looked_at ~= run then return 'server' end
  if (redis.call('GET', P .. 'optouts:epoch') or '0') ~= ARGV[6] then return 'optouts' end
  bid = redis.call('GET', P .. 'stream:' .. ARGV[3])
  local v = bid and redis.call('HMGET', bc_key(bid), 'state', 'serial', 'run', 'after') or {}
  state, serial = v[1], tonumber(v[2])
  local loss = redis.call('HGET', P .. 'rewound', 'at') or ''
  local takes = state == 'running' or state == 'paused' or state == 'completed'
  if takes and v[3] == run and v[4] == loss then return nil end
  local taken = redis.call('HGET', bc_key(ARGV[4]), 'state')
  if not taken then begin(run, loss) end
  return taken
end

local function write(b)
  local li, lane = b[1], lanes[b[1] + 1][1]
  local batch_no = redis.call('HINCRBY', flow_key(bid, lane), 'n', 1) - 1
  local batch = li .. '.' .. string.format('%d', batch_no)
  enter(serial, batch_no * #lanes + li, b[4])
  redis.call('SET', batch_key(bid, batch), b[2])
  redis.call('SET', ledger_key(bid, batch), b[3])
  for s, n in pairs(b[5]) do
    states[s] = (states[s] or 0) + n
    total = total + n
    if tonumber(s) == QUEUED and n > 0 then queued[lane] = true end
  end
  for code, n in pairs(b[6]) do codes[code] = (codes[code] or 0) + n end
  return batch
end

local function take(item)
  local memo, number = P .. 'append:' .. item[1], item[2]
  local last = redis.call('HMGET', memo, 'number', 'answer')
  if last[1] and number < tonumber(last[1]) then return {'late', '', {}, 0} end
  if last[1] and number == tonumber(last[1]) then
    local known = cmsgpack.unpack(last[2])
    known[4] = 1
    return known
  end
  if not bid and not refused then refused = open() end
  if refused then return {refused, bid or '', {}, 0} end
  local names = {}
  for i, b in ipairs(item[4]) do names[i] = write(b) end
  local answer = {'ok', bid, names, 0}
  redis.call('HSET', memo, 'number', number, 'answer', cmsgpack.pack(answer))
  redis.call('EXPIRE', memo, item[3])
  return answer
end

local answers = {}
for i, item in ipairs(cmsgpack.unpack(ARGV[7])) do answers[i] = take(item) end
if total > 0 then
  local key = bc_key(bid)
  for s, n in pairs(states) do redis.call('HINCRBY', key, 'n' .. s, n) end
  for code, n in pairs(codes) do redis.call('HINCRBY', key .. ':codes', code, n) end
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
end
return cmsgpack.pack(answers)
