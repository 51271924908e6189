-- prelude: stands before every script of this folder; it is no script of its own.
--
-- ARGV[1] key prefix, ARGV[2] the installation's epoch; a script's own arguments start at ARGV[3].
-- A script refuses with EPOCH when the installation is not the one its caller knows (FLUSHALL, wrong server).
-- Times are microseconds of Redis' own clock unless a name ends in _s. A record's layout: domain/record.py.

local P = ARGV[1]
-- `wanted`: the kinds of events that some endpoint asks for, ',message.failed,…,'; read with the epoch, it costs no command
local epoch_now, wanted = unpack(redis.call('MGET', P .. 'epoch', P .. 'events:wanted'))
if epoch_now ~= ARGV[2] then
  return redis.error_reply('EPOCH the installation in this Redis is not the one this process started with')
end
local clock = redis.call('TIME')
local now_s = tonumber(clock[1])
local now = now_s * 1000000 + tonumber(clock[2])

local QUEUED, SENDING, RETRY, IN_DOUBT, ACCEPTED, SENT = 0, 1, 2, 3, 4, 5
local DELIVERED, READ, UNDELIVERED, FAILED, DEAD, SKIPPED = 6, 7, 8, 9, 10, 11
local RANK = {[0] = 0, 1, 0, 2, 3, 4, 5, 6, 5, 5, 7, 7}
-- so many refusals in a row that are the content's fault pause a broadcast
local CONTENT_RUN = 20
-- our own codes (Reason), and evidence (flags' bits 1-3) as a message's history names it
local EXPIRED, CANCELED, LEASE_LOST, UNKNOWN, REWOUND, FORGOTTEN, SCHEDULED_CANCELED = 2, 3, 5, 9, 12, 13, 14
-- a record's flag: its person was forgotten (forget.lua), so it is never tried again
local GONE = 0x80
-- another: an SMS went in its place (fall_back.lua), so it isn't tried again either
local FELL_BACK = 0x10
-- another: somebody has canceled it (cancel_message.lua), so nothing follows by itself, whatever is heard of an attempt before
local STOPPED = 0x40
local function stopped(flags) return flags % (2 * STOPPED) >= STOPPED end
local function never_again(flags) return flags >= GONE or flags % (2 * FELL_BACK) >= FELL_BACK end
-- codes of whom WhatsApp surely did not reach, as it can't (domain/fallback.py)
local UNREACHABLE = {[63003] = true, [63024] = true}
-- a record's flag: Twilio has accepted the fallback template, not the text; each attempt says so anew
local BY_TEMPLATE = 0x20
local function without_template(flags) return flags % (2 * BY_TEMPLATE) >= BY_TEMPLATE and flags - BY_TEMPLATE or flags end
local EVIDENCE = {[0] = '', 'answer', 'callback', 'list', 'policy'}
local NO_SID = string.rep('\0', 16)

local function bc_key(bid) return P .. 'bc:' .. bid end
local function lane_key(lane) return P .. 'lane:' .. lane end
local function flow_key(bid, lane) return P .. 'flow:' .. bid .. ':' .. lane end
local function batch_key(bid, batch) return P .. 'bat:' .. bid .. ':' .. batch end
local function ledger_key(bid, batch) return P .. 'led:' .. bid .. ':' .. batch end
local function class_key(lane, cls) return P .. 'lane:' .. lane .. ':' .. cls end
local function later_key(lane) return P .. 'lane:' .. lane .. ':later' end

-- state, spent, flags, segments, attempt, code of the record that starts at byte `at` (1-based) of `raw`
local function head_of(raw, at)
  local a, flags, segments, hi, lo, c1, c2, c3 = string.byte(raw, at, at + 7)
  local state = a % 16
  return state, (a - state) / 16, flags, segments, hi * 256 + lo, c1 * 65536 + c2 * 256 + c3
end

local function record(state, spent, flags, segments, attempt, code, sid, began_s, changed_s)
  local lo, c3 = attempt % 256, code % 256
  local c2 = ((code - c3) / 256) % 256
  return string.char(state + spent * 16, flags, segments, (attempt - lo) / 256, lo,
                     (code - c2 * 256 - c3) / 65536, c2, c3) .. sid .. struct.pack('>I4I4', began_s, changed_s)
end

-- counters[bid][state] = change; applied once a script has seen all its records
local counters, dead_in, doubt_in = {}, {}, {}
local function moved(bid, batch, from, to)
  local c = counters[bid]
  if not c then c = {}; counters[bid] = c end
  c[from] = (c[from] or 0) - 1
  c[to] = (c[to] or 0) + 1
  local at = bid .. '\n' .. batch
  if from == DEAD then dead_in[at] = (dead_in[at] or 0) - 1 end
  if to == DEAD then dead_in[at] = (dead_in[at] or 0) + 1 end
  if from == IN_DOUBT then doubt_in[at] = (doubt_in[at] or 0) - 1 end
  if to == IN_DOUBT then doubt_in[at] = (doubt_in[at] or 0) + 1 end
end

-- {what = n, …} as [what, n, …]: how a script tells counts
local function flat(counts)
  local list = {}
  for what, n in pairs(counts) do
    list[#list + 1] = what
    list[#list + 1] = n
  end
  return list
end

local function mark(kind, changes)
  for at, change in pairs(changes) do
    if change ~= 0 then
      local cut = string.find(at, '\n', 1, true)
      local key, batch = bc_key(string.sub(at, 1, cut - 1)) .. kind, string.sub(at, cut + 1)
      if redis.call('HINCRBY', key, batch, change) <= 0 then redis.call('HDEL', key, batch) end
      if kind == ':doubt' then
        local bid = string.sub(at, 1, cut - 1)
        redis.call(redis.call('EXISTS', key) == 1 and 'SADD' or 'SREM', P .. 'doubtful', bid)
      end
    end
  end
end

-- Events: what endpoints of customers are told (broadcaster/events/). One entry of the stream holds all that a call did:
-- a list of [kind, broadcast, batch, index, attempt, state, code, sid, flags, index, …] for messages,
-- [kind, broadcast, state before, state, reason, total, n0, n1, …] for broadcasts, [kind, facts] for others.
local EVENTS_MOST = 100000
local happened = {}
local function asks_for(kind) return wanted and string.find(wanted, ',' .. kind .. ',', 1, true) ~= nil end
local function publish()
  if #happened == 0 then return end
  for _, e in ipairs(happened) do
    if string.sub(e[1], 1, 10) == 'broadcast.' then
      local counts = redis.call('HMGET', bc_key(e[2]), 'total', 'n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7', 'n8', 'n9', 'n10', 'n11')
      for _, n in ipairs(counts) do e[#e + 1] = tonumber(n or 0) end
    end
  end
  redis.call('XADD', P .. 'events', 'MAXLEN', '~', EVENTS_MOST, '*', 'e', cmsgpack.pack(happened))
  happened = {}
end

local function add_message(kind, bid, batch, ...)
  if not asks_for(kind) then return end
  local e = happened[#happened]
  if not e or e[1] ~= kind or e[2] ~= bid or e[3] ~= batch then
    e = {kind, bid, batch}
    happened[#happened + 1] = e
  end
  for _, value in ipairs({...}) do e[#e + 1] = value end
end

-- A record went from one state to another. What is sent or delivered was accepted, too, though nobody said so before.
local function message_changed(bid, batch, from, to, index, attempt, code, sid, flags)
  if not wanted or from == to then return end
  local function tell(kind) add_message(kind, bid, batch, index, attempt, to, code, sid == NO_SID and '' or sid, flags) end
  if to >= ACCEPTED and to < DEAD and (from < ACCEPTED or from >= DEAD) then tell('message.accepted') end
  if (to == DELIVERED or to == READ) and from ~= DELIVERED and from ~= READ then tell('message.delivered') end
  if to >= UNDELIVERED and to <= DEAD then tell('message.failed') end
  if to == IN_DOUBT then tell('message.in_doubt') end
end

-- Nobody is told of a stream's steps (single messages): it is completed after every few of them.
local function broadcast_changed(kind, bid, from, to, reason)
  if not asks_for(kind) or redis.call('HGET', bc_key(bid), 'kind') == 'stream' then return end
  happened[#happened + 1] = {kind, bid, from, to, reason}
end

-- The SMS that go in place of a broadcast's messages (fall_back.lua) are in streams of their own, which stop, go on and end
-- with it; it is completed when they are.
local function fallbacks_of(bid) return redis.call('SMEMBERS', bc_key(bid) .. ':fallbacks') end
local function any_open(v, from)
  for i = from, from + 3 do if tonumber(v[i] or 0) > 0 then return true end end
  return false
end
local completed = {}
-- A broadcast is completed when nothing is queued, sending, in retry or in doubt. A stream is so after every few messages,
-- which nobody needs to be told.
local function complete_if_done(bid)
  local key = bc_key(bid)
  local v = redis.call('HMGET', key, 'state', 'n0', 'n1', 'n2', 'n3', 'kind', 'fallbacks', 'parent')
  if any_open(v, 2) then return end
  if v[1] == 'running' then
    for _, child in ipairs(v[7] and fallbacks_of(bid) or {}) do
      if any_open(redis.call('HMGET', bc_key(child), 'n0', 'n1', 'n2', 'n3'), 1) then return end
    end
    redis.call('HSET', key, 'state', 'completed', 'reason', '', 'finished', now_s)
    redis.call('SREM', P .. 'active', bid)
    broadcast_changed('broadcast.completed', bid, 'running', 'completed', '')
    if v[6] ~= 'stream' then completed[#completed + 1] = bid end
  end
  if v[8] then complete_if_done(v[8]) end
end

-- There is something to send again: of a broadcast that is completed, and of the one whose SMS these are.
local function run_again(bid)
  while bid do
    local key = bc_key(bid)
    local b = redis.call('HMGET', key, 'state', 'windows', 'parent')
    if b[1] == 'completed' then
      redis.call('HSET', key, 'state', 'running', 'reason', '')
      redis.call('HDEL', key, 'finished', 'window', 'clean', 'early', 'told', 'told_clean', 'told_early')
      redis.call('SADD', P .. 'active', bid)
      if b[2] and b[2] ~= '' then redis.call('SADD', P .. 'windowed', bid) end
      broadcast_changed('broadcast.started', bid, 'completed', 'running', '')
    end
    bid = b[3]
  end
end

-- Those that are completed, too: what failed of them may go again by itself, or a person let it.
local function pause_fallbacks(bid, reason)
  for _, child in ipairs(fallbacks_of(bid)) do
    local its = redis.call('HGET', bc_key(child), 'state')
    if its == 'completed' then run_again(child) end
    if its == 'completed' or its == 'running' then
      redis.call('HSET', bc_key(child), 'state', 'paused', 'reason', reason)
    end
  end
end

-- What keeps the SMS of a broadcast from going again: its state, 'removed' if its people's data are; nil if nothing does.
local function forbidden_by(parent)
  local p = parent and redis.call('HMGET', bc_key(parent), 'state', 'removed') or {'running'}
  if p[2] then return 'removed' end
  if p[1] == 'running' or p[1] == 'paused' or p[1] == 'completed' then return nil end
  return p[1] or 'gone'
end

-- Does an SMS follow if a message ends so? Then a worker is told in the same step (workers/following.py).
local function falls_back(bid, state, code)
  return UNREACHABLE[code] and state >= UNDELIVERED and state <= DEAD and redis.call('HEXISTS', bc_key(bid), 'sms') == 1
end
local function follow(bid, batch, index, attempt, state, code, sid, flags, began_s)
  redis.call('RPUSH', P .. 'failures', cmsgpack.pack({bid, batch, index, attempt, state, code, sid, flags % 2, began_s}))
end

local function apply_counters()
  for bid, changes in pairs(counters) do
    for state, change in pairs(changes) do
      if change ~= 0 then redis.call('HINCRBY', bc_key(bid), 'n' .. state, change) end
    end
    if (changes[QUEUED] or 0) < 0 or (changes[SENDING] or 0) < 0 or (changes[RETRY] or 0) < 0
       or (changes[IN_DOUBT] or 0) < 0 then
      complete_if_done(bid)
    end
  end
  mark(':dead', dead_in)
  mark(':doubt', doubt_in)
  publish()
end

-- A broadcast's serial number in the person index; it is given once.
local function new_serial(bid)
  local serial = redis.call('INCR', P .. 'serials')
  redis.call('HSET', P .. 'bcs:serials', serial, bid)
  return serial
end

-- Enter a batch's recipients into the person index (store/who.py): `marks` is bucket and check of each, 5 bytes.
local function enter(serial, place, marks)
  local tail = struct.pack('>I4I4', serial, place)
  for at = 1, #marks, 5 do
    redis.call('APPEND', P .. 'who:' .. string.sub(marks, at, at + 2), string.sub(marks, at + 3, at + 4) .. tail)
  end
end

-- Microseconds from when on a broadcast may send by its window; `now` or before if it may now. `windows`: its next openings
-- in order, 'from:to,from:to,…' (unix seconds); nil or '' for one without a window. Where they are used up (whoever keeps them
-- ahead, workers/windows.py, has not run) nothing leaves, and it is looked at again before long.
local WINDOWS_UNKNOWN = 60000000
local function opens_at(windows)
  if not windows or windows == '' then return now end
  for from, to in string.gmatch(windows, '(%d+):(%d+)') do
    if now_s < tonumber(to) then return tonumber(from) * 1000000 end
  end
  return now + WINDOWS_UNKNOWN
end

local function wake()
  redis.call('LPUSH', P .. 'wake', '1')
  redis.call('LTRIM', P .. 'wake', 0, 31)
end

-- Let a lane be looked at no later than `at`; a paused lane stays out until it is resumed.
local function lane_due(lane, at)
  local paused = redis.call('HGET', lane_key(lane), 'paused')
  if not paused or paused == '' then redis.call('ZADD', P .. 'due', 'LT', at, lane) end
end

-- Put a broadcast's flow back on its lane, at the clock of its class: it neither jumps the queue nor waits for
-- what it missed. A flow with nothing to give is taken out again by claim.lua.
local function activate(bid, lane, cls)
  local key = class_key(lane, cls)
  if not redis.call('ZSCORE', key, bid) then
    redis.call('ZADD', key, redis.call('HGET', lane_key(lane), 'clock:' .. cls) or 0, bid)
  end
  redis.call('ZREM', later_key(lane), bid)
  lane_due(lane, now)
end

-- Make a record of this flow due at `at` again (a retry, or an unsent record that was given back).
local function retry_at(bid, lane, batch_no, index, at, running)
  redis.call('ZADD', flow_key(bid, lane) .. ':retry', at, batch_no .. ':' .. index)
  if running then
    redis.call('ZADD', later_key(lane), 'LT', at, bid)
    lane_due(lane, at)
  end
end

-- One more line of a message's history, which is capped. What later news are judged by stays longest: what went again
-- ('replay', 'resend'), what was accepted late ('late'), every SID. So the oldest plain retry goes first, then what else
-- decides nothing.
local HISTORY_MOST = 20
local DECIDING = {replay = true, resend = true, late = true}
local function remember(bid, batch, index, entry)
  local key = P .. 'hist:' .. bid .. ':' .. batch .. ':' .. index
  if redis.call('RPUSH', key, cmsgpack.pack(entry)) <= HISTORY_MOST then return end
  local oldest, plain
  for i, raw in ipairs(redis.call('LRANGE', key, 0, -2)) do
    local e = cmsgpack.unpack(raw)
    if e[6] == '' and not DECIDING[e[8]] then
      if e[2] == RETRY then plain = plain or i else oldest = oldest or i end
    end
  end
  redis.call('LSET', key, (plain or oldest or 1) - 1, '')
  redis.call('LREM', key, 1, '')
end

-- What this message's history holds of an acceptance that became known after a newer attempt had left (the last such
-- line; of one attempt only, if given).
local function late_acceptance(bid, batch, index, attempt)
  local found
  for _, raw in ipairs(redis.call('LRANGE', P .. 'hist:' .. bid .. ':' .. batch .. ':' .. index, 0, -1)) do
    local e = cmsgpack.unpack(raw)
    if e[8] == 'late' and (not attempt or e[1] == attempt) then found = e end
  end
  return found
end

-- A record's flags with those of an outcome added; evidence takes the place of older evidence.
local function with_flags(flags, told)
  if told > 1 then flags = bit.band(flags, 0xF1) end
  return bit.bor(flags, told)
end
