-- auto_stop: stands behind the prelude of record.lua: the rule by which a failing campaign stops itself.
--
-- A campaign that goes wrong stops itself. Of a broadcast's last outcomes only sums are kept: `window`, ten buckets of a
-- tenth of the rule's window each, the newest last, {outcomes, permanent failures, {code = failures}}; and `clean`, the
-- successes since those were written, so that a call that tells nothing else costs one addition.
local BUCKETS = 10
local rule
local function stop_rule()
  if not rule then
    local text = redis.call('HGET', P .. 'account', 'stop') or '0.2:100:500'
    local share, after, window = string.match(text, '^(.-):(%d+):(%d+)$')
    rule = {share = tonumber(share), after = math.min(tonumber(after), tonumber(window)), size = math.ceil(tonumber(window) / BUCKETS)}
  end
  return rule
end

local function add(window, outcomes)
  local size = stop_rule().size
  local whole = size * (BUCKETS + 1)
  if outcomes > whole then outcomes = whole + (outcomes - whole) % size end
  while outcomes > 0 do
    if window[#window][1] >= size then window[#window + 1] = {0, 0, {}} end
    local last = window[#window]
    local some = math.min(outcomes, size - last[1])
    last[1] = last[1] + some
    outcomes = outcomes - some
  end
  while #window > BUCKETS do table.remove(window, 1) end
end

local function read_window(bid)
  local v = redis.call('HMGET', bc_key(bid), 'window', 'clean')
  local window = v[1] and cmsgpack.unpack(v[1]) or {{0, 0, {}}}
  add(window, tonumber(v[2] or 0))
  return window
end

-- tallies[bid]: the successes of this call, up to its first failure; from then on the whole window
local tallies = {}
local function count(bid, outcomes, code)
  local t = tallies[bid]
  if not t then t = {clean = 0}; tallies[bid] = t end
  if not t.window then
    if not code then
      t.clean = t.clean + outcomes
      return
    end
    t.window = read_window(bid)
    add(t.window, t.clean)
  end
  add(t.window, outcomes)
  if code then
    local last, field = t.window[#t.window], tostring(code)
    last[2] = last[2] + 1
    last[3][field] = (last[3][field] or 0) + 1
  end
end

-- Opt-outs and doubt that nothing settled are no failures of the campaign; a failure after the acceptance counts when
-- it is heard of, and its message was counted as an outcome before.
local UNCOUNTED = {[5] = true, [6] = true, [9] = true, [21610] = true, [30630] = true, [63014] = true, [63033] = true, [63050] = true}
local LATE_S = 300
local function judge(bid, from, new, code, told_flags, began_s)
  if new < ACCEPTED or new == SKIPPED then return end
  -- final states that were asked for, or told late (when callbacks could not be taken for a while), come by the thousand
  -- long after their acceptances: failures among them are to be seen beside the deliveries that were told with them, not
  -- beside the few that were accepted last
  local late = new >= DELIVERED and new < DEAD and (bit.band(told_flags, 0x0E) == LIST or now_s - began_s > LATE_S)
  local first = (from < ACCEPTED or late) and 1 or 0
  if new >= UNDELIVERED and not UNCOUNTED[code] then count(bid, first, code)
  elseif first == 1 and new ~= DEAD then count(bid, 1) end
end

-- `early`: too many have failed, but too few have ended yet for that to say anything. A stream is no campaign: what its
-- messages have in common is their shape, and those of others must not wait for a person.
local function stop_if_failing(bid, t)
  local key = bc_key(bid)
  local told = redis.call('HMGET', key, 'early', 'kind')
  if told[2] == 'stream' then return nil end
  if not t.window then
    if t.clean > 0 then redis.call('HINCRBY', key, 'clean', t.clean) end
    if told[1] ~= '1' then return nil end
    t.window = read_window(bid)
  end
  local outcomes, failures, codes = 0, 0, {}
  for _, bucket in ipairs(t.window) do
    outcomes, failures = outcomes + bucket[1], failures + bucket[2]
    for code, n in pairs(bucket[3]) do codes[code] = (codes[code] or 0) + n end
  end
  local failing = failures > stop_rule().share * outcomes
  local early = outcomes < stop_rule().after
  redis.call('HSET', key, 'window', cmsgpack.pack(t.window), 'clean', 0, 'early', failing and early and 1 or 0)
  if not failing or early then return nil end
  local b = redis.call('HMGET', key, 'state', 'n' .. QUEUED, 'n' .. RETRY)
  if b[1] ~= 'running' or tonumber(b[2] or 0) + tonumber(b[3] or 0) == 0 then return nil end
  local top, most = '', 0
  for code, n in pairs(codes) do
    if n > most or (n == most and code < top) then top, most = code, n end
  end
  local reason = 'failures:' .. math.min(100, math.floor(failures * 100 / outcomes)) .. ':' .. outcomes .. ':' .. top
  redis.call('HSET', key, 'state', 'paused', 'reason', reason)
  broadcast_changed('broadcast.paused', bid, 'running', 'paused', reason)
  return reason
end
