-- auto_stop: stands behind the prelude of record.lua: the rule by which a failing campaign stops itself.
--
-- A campaign that goes wrong stops itself. Its requests' outcomes are judged by themselves, and so is what became of what
-- Twilio took: that comes later, sometimes by the thousand at once (callbacks that could not be taken for a while, states
-- that were asked for), when few requests end. Of the last outcomes of each kind only sums are kept: `window`, ten buckets
-- of a tenth of the rule's window each, the newest last, {outcomes, permanent failures, {code = failures}}; and `clean`,
-- the successes since those were written, so that a call that tells nothing else costs one addition.
local BUCKETS = 10
local REQUESTS = {window = 'window', clean = 'clean', early = 'early'}
local DELIVERIES = {window = 'told', clean = 'told_clean', early = 'told_early'}
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

local function read_window(bid, kind)
  local v = redis.call('HMGET', bc_key(bid), kind.window, kind.clean)
  local window = v[1] and cmsgpack.unpack(v[1]) or {{0, 0, {}}}
  add(window, tonumber(v[2] or 0))
  return window
end

-- tallies[bid][kind]: the successes of this call, up to its first failure; from then on the whole window
local tallies = {}
local function count(bid, kind, outcomes, code)
  local kinds = tallies[bid]
  if not kinds then kinds = {}; tallies[bid] = kinds end
  local t = kinds[kind]
  if not t then t = {clean = 0}; kinds[kind] = t end
  if not t.window then
    if not code then
      t.clean = t.clean + outcomes
      return
    end
    t.window = read_window(bid, kind)
    add(t.window, t.clean)
  end
  add(t.window, outcomes)
  if code then
    local last, field = t.window[#t.window], tostring(code)
    last[2] = last[2] + 1
    last[3][field] = (last[3][field] or 0) + 1
  end
end

-- Opt-outs, doubt that nothing settled, and whom an SMS reaches instead are no failures of the campaign. A delivery is an outcome with the first that is
-- heard of it; one that fails after that is a failure more.
local UNCOUNTED = {[5] = true, [6] = true, [9] = true, [21610] = true, [30630] = true, [63014] = true, [63033] = true, [63050] = true}
local function judge(bid, from, new, code)
  if new < ACCEPTED or new == SKIPPED then return end
  local uncounted = UNCOUNTED[code] or falls_back(bid, new, code)
  if from < ACCEPTED then
    if new ~= DEAD then count(bid, REQUESTS, 1)
    elseif not uncounted then count(bid, REQUESTS, 1, code) end
  end
  if new < SENT or new >= DEAD then return end
  local first = (from < SENT or from >= DEAD) and 1 or 0
  if new >= UNDELIVERED and not uncounted then count(bid, DELIVERIES, first, code)
  elseif first == 1 then count(bid, DELIVERIES, 1) end
end

-- A stream is no campaign: what its messages have in common is their shape, and those of others must not wait for a person.
-- But the SMS in place of a broadcast's messages are that one's.
local function campaign_of(bid, kind, parent)
  if kind ~= 'stream' then return bid end
  return parent and redis.call('HGET', bc_key(parent), 'kind') ~= 'stream' and parent or nil
end

local function pause_campaign(bid, reason)
  redis.call('HSET', bc_key(bid), 'state', 'paused', 'reason', reason)
  pause_fallbacks(bid, reason)
  broadcast_changed('broadcast.paused', bid, 'running', 'paused', reason)
end

-- `early`: too many have failed, but too few have ended yet for that to say anything.
-- Returns why it stopped, and what: a broadcast.
local function failing_kind(bid, kind, t)
  local key = bc_key(bid)
  local told = redis.call('HMGET', key, kind.early, 'kind', 'parent')
  local campaign = campaign_of(bid, told[2], told[3])
  if not campaign then return nil end
  if not t.window then
    if t.clean > 0 then redis.call('HINCRBY', key, kind.clean, t.clean) end
    if told[1] ~= '1' then return nil end
    t.window = read_window(bid, kind)
  end
  local outcomes, failures, codes = 0, 0, {}
  for _, bucket in ipairs(t.window) do
    outcomes, failures = outcomes + bucket[1], failures + bucket[2]
    for code, n in pairs(bucket[3]) do codes[code] = (codes[code] or 0) + n end
  end
  local failing = failures > stop_rule().share * outcomes
  local early = outcomes < stop_rule().after
  redis.call('HSET', key, kind.window, cmsgpack.pack(t.window), kind.clean, 0, kind.early, failing and early and 1 or 0)
  if not failing or early then return nil end
  local b = redis.call('HMGET', key, 'state', 'n' .. QUEUED, 'n' .. RETRY)
  if b[1] ~= 'running' or tonumber(b[2] or 0) + tonumber(b[3] or 0) == 0 then return nil end
  if campaign ~= bid and redis.call('HGET', bc_key(campaign), 'state') ~= 'running' then return nil end
  local top, most = '', 0
  for code, n in pairs(codes) do
    if n > most or (n == most and code < top) then top, most = code, n end
  end
  local reason = 'failures:' .. math.min(100, math.floor(failures * 100 / outcomes)) .. ':' .. outcomes .. ':' .. top
  pause_campaign(campaign, reason)
  return reason, campaign
end

local function stop_if_failing(bid, kinds)
  local reason, campaign
  for kind, t in pairs(kinds) do
    local why, which = failing_kind(bid, kind, t)
    if why then reason, campaign = why, which end
  end
  return reason, campaign
end
