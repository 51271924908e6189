-- streams: stands behind the prelude of append.lua and fall_back.lua: how messages are put into a stream, which begins if
-- it isn't there.
--
-- A stream S: print, id (if it has to begin), epoch of opt-outs that the caller has seen, facts [spec (msgpack), class u|n|b, name,
--   expires (unix second) or '', rate (segments a second) or '', lanes: list of [name, rate], until when Twilio keeps them back
--   (unix second) or '', next openings (opens_at) or '', broadcast (or stream) whose fallbacks these are or '', '1' if an SMS
--   follows whom WhatsApp can't reach, else '']. A batch to write: [lane (from 0), packed recipients, records, bucket and check
--   of each (5 bytes), {state: n}, {'state:code': n}].
local PRINT_KEPT_S = 7200

local function stream(print, id, epoch, facts)
  local S = {print = print, id = id, epoch = epoch, total = 0, states = {}, codes = {}, queued = {}, doubts = {}}
  S.spec, S.cls, S.name, S.expires, S.rate, S.lanes, S.send_at, S.windows, S.parent, S.sms = unpack(cmsgpack.unpack(facts))
  return S
end

local function begin_stream(S, run, loss)
  local key = bc_key(S.id)
  S.bid, S.state, S.serial = S.id, 'running', new_serial(S.id)
  redis.call('HSET', key, 'state', S.state, 'reason', '', 'created', now_s, 'started', now_s, 'spec', S.spec, 'cls', S.cls,
             'name', S.name, 'idem', '', 'total', 0, 'kind', 'stream', 'serial', S.serial, 'run', run, 'after', loss, 'at', '',
             'expires', S.expires, 'rate', S.rate, 'print', '')
  redis.call('ZADD', P .. 'streams', now, S.bid)
  if S.send_at ~= '' then redis.call('ZADD', P .. 'handed', S.send_at, S.bid) end
  if S.windows ~= '' then redis.call('HSET', key, 'windows', S.windows) end
  if S.sms ~= '' then redis.call('HSET', key, 'sms', S.sms) end
  if S.parent ~= '' then
    redis.call('HSET', key, 'parent', S.parent)
    redis.call('SADD', bc_key(S.parent) .. ':fallbacks', S.bid)
  end
  for i, lane in ipairs(S.lanes) do
    redis.call('RPUSH', key .. ':lanes', lane[1])
    redis.call('HSET', flow_key(S.bid, lane[1]), 'li', i - 1, 'n', 0, 'head', 0, 'pos', 0)
    redis.call('SADD', P .. 'lanes', lane[1])
    redis.call('HSETNX', lane_key(lane[1]), 'rate', lane[2])
  end
  redis.call('SET', P .. 'stream:' .. S.print, S.bid, 'EX', PRINT_KEPT_S)
end

local function stream_is_active(S)
  redis.call('SADD', P .. 'active', S.bid)
  if S.windows ~= '' then redis.call('SADD', P .. 'windowed', S.bid) end
end

-- Find or begin the stream; returns what forbids it: 'server', 'optouts', or the state of the one that has its id.
local function open_stream(S)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:([^\r\n]+)')
  local looked_at = redis.call('HGET', P .. 'server', 'run')
  if looked_at and looked_at ~= run then return 'server' end
  if (redis.call('GET', P .. 'optouts:epoch') or '0') ~= S.epoch then return 'optouts' end
  S.bid = redis.call('GET', P .. 'stream:' .. S.print)
  local v = S.bid and redis.call('HMGET', bc_key(S.bid), 'state', 'serial', 'run', 'after') or {}
  S.state, S.serial = v[1], tonumber(v[2])
  local loss = redis.call('HGET', P .. 'rewound', 'at') or ''
  local takes = S.state == 'running' or S.state == 'paused' or S.state == 'completed'
  if takes and v[3] == run and v[4] == loss then return nil end
  local taken = redis.call('HGET', bc_key(S.id), 'state')
  if not taken then
    begin_stream(S, run, loss)
    stream_is_active(S)
  end
  return taken
end

local function write_batch(S, b)
  local li, lane = b[1], S.lanes[b[1] + 1][1]
  local batch_no = redis.call('HINCRBY', flow_key(S.bid, lane), 'n', 1) - 1
  local batch = li .. '.' .. string.format('%d', batch_no)
  enter(S.serial, batch_no * #S.lanes + li, b[4])
  redis.call('SET', batch_key(S.bid, batch), b[2])
  redis.call('SET', ledger_key(S.bid, batch), b[3])
  for s, n in pairs(b[5]) do
    S.states[s] = (S.states[s] or 0) + n
    S.total = S.total + n
    if tonumber(s) == QUEUED and n > 0 then S.queued[lane] = true end
    if tonumber(s) == IN_DOUBT and n > 0 then S.doubts[S.bid .. '\n' .. batch] = n end
  end
  for code, n in pairs(b[6]) do S.codes[code] = (S.codes[code] or 0) + n end
  return batch
end

-- Count what was written, and let it be sent.
local function close_stream(S)
  if S.total == 0 then return end
  local key, open = bc_key(S.bid), next(S.queued) or next(S.doubts)
  for s, n in pairs(S.states) do redis.call('HINCRBY', key, 'n' .. s, n) end
  for code, n in pairs(S.codes) do redis.call('HINCRBY', key .. ':codes', code, n) end
  redis.call('HINCRBY', key, 'total', S.total)
  mark(':doubt', S.doubts)
  if open and S.state == 'completed' then
    redis.call('HSET', key, 'state', 'running', 'reason', '')
    redis.call('HDEL', key, 'finished')
    stream_is_active(S)
    S.state = 'running'
  end
  if S.state == 'running' then
    for lane in pairs(S.queued) do activate(S.bid, lane, S.cls) end
    if next(S.queued) then wake() elseif not open then complete_if_done(S.bid) end
  end
end
