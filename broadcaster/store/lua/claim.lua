#!lua flags=allow-oom
-- claim: give a worker slices of up to `lanes` due lanes, in fair order, with the permits to send them.
--
-- ARGV[3] worker  ARGV[4] nonce: the same nonce gets the same answer again. In the form NUMBER.TEXT it also counts: one
--   with a lower number than the last comes late over a connection that its worker has given up, and gets nothing.
-- ARGV[5] lanes at most  ARGV[6] records at most
-- ARGV[7] horizon: how far ahead (µs) a permit may lie
-- ARGV[8] 1 for a probe into Twilio's silence: rather one that was never tried than, again and again, the same few
-- ARGV[9] count that the caller knows of its last look (guard.lua): a lower one here is older data, which gives nothing
-- ARGV[10] how many messages a second the worker can send  ARGV[11] how many of a faster lane; 0: as many as there are
-- Returns [next, slices, reason, now]: `next` µs until a lane is due (-1: none has work), slices a list of
--   [claim, lane, broadcast, batch, delay, interval, heads]: the first message may leave after `delay` µs, each
--   segment sent moves the following by `interval` µs (text); heads are 10 bytes a record: index (u16), record[0:8].
--   All of these count from `now`, Redis' µs of this answer: it may be long on its way.
-- LEASE is the error of a worker whose lease is gone.

local worker, nonce = ARGV[3], ARGV[4]
local lanes_left, records_left, horizon = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local a_second, at_once = tonumber(ARGV[10]), tonumber(ARGV[11])
local SLICE, BURST, DEBT = 500000, 40000, 60000000
local SLICE_MOST, BRIEF, FRUITLESS = 500, 10000, 500
local CLASSES = {'u', 'n', 'b'}

if not redis.call('ZSCORE', P .. 'workers', worker) then
  return redis.error_reply('LEASE this worker has no lease')
end
local worker_key = P .. 'worker:' .. worker
if tonumber(ARGV[9]) > tonumber(redis.call('HGET', P .. 'server', 'count') or 0) then return {1000000, {}, '', now} end
local last = redis.call('HMGET', worker_key, 'nonce', 'answer')
if last[1] == nonce then return cmsgpack.unpack(last[2]) end
local function counted(n) return tonumber(string.match(n or '', '^(%d+)%.')) end
if (counted(nonce) or 0) < (counted(last[1]) or 0) then return {1000000, {}, '', now} end
-- what has no slices is remembered too, or it might be asked for again, late, when there are some
local function answered(answer)
  redis.call('HSET', worker_key, 'nonce', nonce, 'answer', cmsgpack.pack(answer))
  return answer
end

local account = redis.call('HMGET', P .. 'account', 'paused', 'rate', 'tat', 'weights', 'rewind')
if account[5] then return answered({1000000, {}, 'rewind:' .. account[5], now}) end
if account[1] and account[1] ~= '' then return answered({1000000, {}, account[1], now}) end
local W = {u = 90, n = 9, b = 1}
if account[4] and account[4] ~= '' then
  local u, n, b = string.match(account[4], '(%d+):(%d+):(%d+)')
  W = {u = tonumber(u), n = tonumber(n), b = tonumber(b)}
end

-- A pace is GCRA: `tat` is when the next segment is due by the book; one may leave `slack` before that. A twenty-fifth
-- of a second makes up for a worker that came that much late; with what a permit may be late (workers/plan.py), any
-- second stays below rate + 10 % + one message.
local function pace(rate, tat, key)
  rate = tonumber(rate or 0)
  if not rate or rate <= 0 then return nil end
  local interval = 1000000 / rate
  return {key = key, interval = interval, slack = BURST, tat = math.min(tonumber(tat or 0) or 0, now + DEBT)}
end
local function free_at(paces)
  local at = now
  for _, p in ipairs(paces) do if p.tat - p.slack > at then at = p.tat - p.slack end end
  return at
end
local function spend(paces, at, segments)
  for _, p in ipairs(paces) do p.tat = math.max(p.tat, at) + segments * p.interval end
end
local account_pace = pace(account[2], account[3], P .. 'account')

-- What a flow can give now: batch number, list of indexes (or a range), and how to take them.
local function tried(key)
  local due = redis.call('ZRANGEBYSCORE', key .. ':retry', '-inf', now + horizon, 'LIMIT', 0, 64)
  if due[1] then
    local batch_no, indexes = nil, {}
    for _, member in ipairs(due) do
      local k, i = string.match(member, '(%d+):(%d+)')
      batch_no = batch_no or k
      if k == batch_no then indexes[#indexes + 1] = tonumber(i) end
    end
    return {kind = 'retry', key = key, batch_no = batch_no, indexes = indexes}
  end
end
local function fresh(key, f)
  local back = redis.call('LINDEX', key .. ':back', 0)
  if back then
    local k, from, to = string.match(back, '(%d+):(%d+):(%d+)')
    return {kind = 'back', key = key, batch_no = k, from = tonumber(from), to = tonumber(to)}
  end
  if not f[4] or tonumber(f[2]) >= tonumber(f[4]) then return nil end
  return {kind = 'head', key = key, batch_no = f[2], from = tonumber(f[3])}
end
-- `f` is what a flow's hash says: li, head, pos, n
local function source(key, f)
  if ARGV[8] == '1' then return fresh(key, f) or tried(key) end
  return tried(key) or fresh(key, f)
end

local function outpaces_worker(interval) return at_once > 0 and a_second * interval < 1000000 end

-- Records of a slice whose last one leaves in time, though the worker is slower than the lane; so few that nobody waits
-- for their permits are no matter.
local function in_time(interval)
  if not outpaces_worker(interval) then return SLICE_MOST end
  return math.min(SLICE_MOST, math.max(at_once, math.floor(BRIEF / interval)))
end

-- Records of a source that may still go, within a budget of segments; marks how far it got.
local function take(s, bid, lane_index, budget, most)
  local led = ledger_key(bid, lane_index .. '.' .. s.batch_no)
  local heads, attempts, segments_total = {}, {}, 0
  local function one(index, raw, at)
    local state, _, _, segments, attempt = head_of(raw, at)
    if state ~= QUEUED and state ~= RETRY then return true end
    if #heads > 0 and (segments_total + segments > budget or #heads >= most) then return false end
    heads[#heads + 1] = struct.pack('>I2', index) .. string.sub(raw, at, at + 7)
    attempts[#attempts + 1] = index .. ':' .. attempt
    segments_total = segments_total + segments
    return true
  end
  if s.kind == 'retry' then
    s.taken = {}
    for _, index in ipairs(s.indexes) do
      local raw = redis.call('GETRANGE', led, index * 32, index * 32 + 7)
      if #raw == 8 and not one(index, raw, 1) then break end
      s.taken[#s.taken + 1] = s.batch_no .. ':' .. index
    end
  else
    local last_wanted = s.from + math.min(most, math.ceil(budget)) + 15
    if s.to and s.to - 1 < last_wanted then last_wanted = s.to - 1 end
    local raw = redis.call('GETRANGE', led, s.from * 32, last_wanted * 32 + 31)
    local count = math.floor(#raw / 32)
    local reached = 0
    while reached < count and one(s.from + reached, raw, reached * 32 + 1) do reached = reached + 1 end
    s.next = s.from + reached
    if s.to then s.ended = s.next >= s.to or count == 0
    -- what was asked for reaches beyond what is taken: an end within it is the batch's
    else s.ended = reached == count and (s.from + count <= last_wanted or s.next * 32 >= redis.call('STRLEN', led)) end
  end
  return heads, attempts, segments_total
end

local function consume(s)
  if s.kind == 'retry' then
    if #s.taken > 0 then redis.call('ZREM', s.key .. ':retry', unpack(s.taken)) end
  elseif s.kind == 'back' then
    if s.ended then redis.call('LPOP', s.key .. ':back')
    else redis.call('LSET', s.key .. ':back', 0, s.batch_no .. ':' .. s.next .. ':' .. s.to) end
  elseif s.ended then redis.call('HSET', s.key, 'head', tonumber(s.batch_no) + 1, 'pos', 0)
  else redis.call('HSET', s.key, 'pos', s.next) end
end

local function pick_class(lane, L)
  local best, best_tag, weight_sum, flows = nil, nil, 0, 0
  for i, cls in ipairs(CLASSES) do
    local count = redis.call('ZCARD', class_key(lane, cls))
    if count > 0 then
      weight_sum = weight_sum + W[cls]
      local tag = math.max(L.clock, L.tag[i])
      if not best or tag < best_tag then best, best_tag, flows = i, tag, count end
    end
  end
  return best, best_tag, weight_sum, flows
end

-- What this script changes of a broadcast is its pace alone, so that the others are read once for all lanes.
local read = {}
local function about(bid)
  local b = read[bid]
  if b then return b, b.own end
  b = redis.call('HMGET', bc_key(bid), 'state', 'rate', 'tat', 'windows', 'parent')
  if not b[5] then b.own = pace(b[2], b[3], bc_key(bid))
  -- SMS in place of a broadcast's messages share its pace
  elseif b[2] and b[2] ~= '' then b.own = pace(b[2], redis.call('HGET', bc_key(b[5]), 'tat'), bc_key(b[5])) end
  b.opens = opens_at(b[4])
  if not b.own then read[bid] = b end
  return b, b.own
end

-- One slice of one lane, or nil when none of its flows can give now, or too many records in a row need no sending:
-- Redis serves others too, and the lane stays due.
local function slice(lane, L, paces)
  for _ = 1, FRUITLESS do
    local c, tag, weight_sum, flows = pick_class(lane, L)
    if not c then return nil end
    local cls = CLASSES[c]
    local zset = class_key(lane, cls)
    local top = redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')
    local bid, flow_tag = top[1], tonumber(top[2])
    local b, own = about(bid)
    local key = flow_key(bid, lane)
    local f = redis.call('HMGET', key, 'li', 'head', 'pos', 'n')
    local opens = b.opens
    if b[1] ~= 'running' or not f[1] then
      redis.call('ZREM', zset, bid)
    elseif opens > now then
      redis.call('ZREM', zset, bid)
      redis.call('ZADD', later_key(lane), opens, bid)
    elseif own and own.tat - own.slack > now + horizon then
      redis.call('ZREM', zset, bid)
      redis.call('ZADD', later_key(lane), own.tat - own.slack, bid)
    else
      local s = source(key, f)
      if not s then
        redis.call('ZREM', zset, bid)
        local soon = redis.call('ZRANGE', key .. ':retry', 0, 0, 'WITHSCORES')
        if soon[1] then redis.call('ZADD', later_key(lane), soon[2], bid) end
      else
        if own then paces[#paces + 1] = own end
        local interval = 0
        for _, p in ipairs(paces) do interval = math.max(interval, p.interval) end
        local budget = math.max(1, SLICE / interval * (W[cls] / weight_sum))
        local heads, attempts, segments = take(s, bid, f[1], budget, math.min(records_left, in_time(interval)))
        consume(s)
        if #heads > 0 then
          if outpaces_worker(interval) then at_once = math.max(1, at_once - #heads) end
          L.tag[c] = tag + segments / W[cls]
          -- who is served alone takes the clock along: whoever comes next starts beside it, owed and owing nothing
          L.clock = weight_sum == W[cls] and L.tag[c] or tag
          local flow_clock = flows == 1 and flow_tag + segments or flow_tag
          redis.call('ZADD', zset, flow_tag + segments, bid)
          local at = math.max(free_at(paces), L.hold)
          spend(paces, at, segments)
          local told = {'clock', L.clock, 't' .. cls, L.tag[c], 'clock:' .. cls, flow_clock}
          for _, p in ipairs(paces) do
            local tat = string.format('%.0f', p.tat)
            if p.key == lane_key(lane) then told[7], told[8] = 'tat', tat else redis.call('HSET', p.key, 'tat', tat) end
          end
          redis.call('HSET', lane_key(lane), unpack(told))
          return {bid, f[1] .. '.' .. s.batch_no, math.floor(at - now), string.format('%.3f', interval), table.concat(heads)}, attempts
        elseif own then paces[#paces] = nil end
      end
    end
  end
end

local function wake_flows(lane)
  for _, bid in ipairs(redis.call('ZRANGEBYSCORE', later_key(lane), '-inf', now + horizon, 'LIMIT', 0, 100)) do
    redis.call('ZREM', later_key(lane), bid)
    local b = redis.call('HMGET', bc_key(bid), 'state', 'cls')
    if b[1] == 'running' then activate(bid, lane, b[2]) end
  end
end

local slices = {}
local due = redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', now + horizon, 'LIMIT', 0, lanes_left)
for n, lane in ipairs(due) do
  if records_left <= 0 then break end
  local v = redis.call('HMGET', lane_key(lane), 'rate', 'tat', 'hold', 'paused', 'pool', 'clock', 'tu', 'tn', 'tb')
  if v[4] and v[4] ~= '' then
    redis.call('ZREM', P .. 'due', lane)
  else
    local L = {hold = tonumber(v[3] or 0), clock = tonumber(v[6] or 0), tag = {tonumber(v[7] or 0), tonumber(v[8] or 0), tonumber(v[9] or 0)}}
    local paces = {pace(v[1] or 1, v[2], lane_key(lane))}
    if v[5] and v[5] ~= '' then
      local pool = redis.call('HMGET', lane_key(v[5]), 'rate', 'tat')
      paces[#paces + 1] = pace(pool[1], pool[2], lane_key(v[5]))
    end
    if account_pace then paces[#paces + 1] = account_pace end
    local shared = #paces
    local start = math.max(free_at(paces), L.hold)
    if start > now + horizon then
      redis.call('ZADD', P .. 'due', start, lane)
    else
      wake_flows(lane)
      local s, attempts = slice(lane, L, paces)
      for i = #paces, shared + 1, -1 do paces[i] = nil end
      if s then
        local claim = nonce .. '.' .. n
        redis.call('HSET', worker_key .. ':claims', claim, cmsgpack.pack({s[1], lane, s[2], table.concat(attempts, ',')}))
        slices[#slices + 1] = {claim, lane, s[1], s[2], s[3], s[4], s[5]}
        records_left = records_left - #attempts
      end
      -- whoever gave a slice is on the lane still
      local active = s ~= nil
      for _, cls in ipairs(CLASSES) do active = active or redis.call('ZCARD', class_key(lane, cls)) > 0 end
      local soon = active or redis.call('ZRANGE', later_key(lane), 0, 0, 'WITHSCORES')
      if active then redis.call('ZADD', P .. 'due', free_at(paces), lane)
      elseif soon[1] then redis.call('ZADD', P .. 'due', math.max(tonumber(soon[2]), free_at(paces)), lane)
      else redis.call('ZREM', P .. 'due', lane) end
    end
  end
end

local first = redis.call('ZRANGE', P .. 'due', 0, 0, 'WITHSCORES')
return answered({first[1] and math.floor(math.max(0, tonumber(first[2]) - now)) or -1, slices, '', now})
