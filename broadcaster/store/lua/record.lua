#!lua flags=allow-oom
-- record: write the outcomes of many messages at once. An outcome is never refused for a lost claim.
--
-- ARGV[3] worker
-- ARGV[4] msgpack: list of [lane, broadcast, batch, outcomes], outcomes a list of
--   [index, attempt, state, code, sid (16 bytes or ''), flags to set, spend (0|1), delay, content (0|1), follow (0|1)]
--   lane: '' where the caller does not know it. delay: µs until a retry is due. content: a refusal that is the content's
--   fault. follow: if this makes the record undelivered or failed, or is news of an attempt before, something follows: it is put into the list
--   `failures` in the same step, for a worker to see to (workers/following.py), so that it is done although whoever was told
--   may die on the way, and not again when they are told twice. So is what an SMS follows (falls_back in prelude.lua).
-- Returns msgpack [changed, twice, paused, completed, missing, became, heard]: records changed; duplicates we caused (an older
--   attempt turns out to have been accepted after a newer one left), each once for all calls: [broadcast, batch, index, attempt,
--   SID as Twilio writes it, attempt, SID]: what this call tells of, then what the record holds (SID: '' while unknown), and so
--   many more in `account` duplicates; broadcasts that this call paused, each [broadcast, reason];
--   broadcasts that it completed; outcomes of which there is no record any more; [state * 2^24 + code, n, …] of the records
--   that went to another state than retry, accepted and sent; and [s, n, …]: n messages of which a callback told first, so many
--   seconds after their attempt began.
-- Twice with the same input changes nothing the second time.

local changed, twice, paused, missing = 0, {}, {}, 0
local became, heard = {}, {}
local function by_callback(flags) return bit.band(flags, 0x0E) == 4 end

-- May a record at (state, attempt, code) take this outcome of the same attempt? A doubt that only a lost lease made
-- gives way to what its owner says itself; a dead letter that nobody knew anything of, to evidence of acceptance, and
-- so does any, where that is about an attempt before it (`older`); as who was skipped after a try.
local older = false
local function may_follow(state, new, code, new_code)
  if state == SENDING then return true end
  -- what was lost may hold a newer attempt than the one that failed
  if state == IN_DOUBT and code == REWOUND then return new >= ACCEPTED end
  if state == IN_DOUBT then return new ~= IN_DOUBT or (code == LEASE_LOST and new_code ~= LEASE_LOST) end
  -- canceled at Twilio before its time: what comes of this attempt after that is only late
  if state == SKIPPED and code == SCHEDULED_CANCELED and not older then return false end
  if (state == DEAD and (code == UNKNOWN or older)) or state == SKIPPED then return new >= ACCEPTED and new < DEAD end
  if state == RETRY then return (new >= ACCEPTED and new < DEAD) or new == SKIPPED end
  return new ~= RETRY and new ~= IN_DOUBT and new ~= DEAD and RANK[new] > RANK[state]
end

-- Was this attempt sent again because Twilio had said that it failed on its way?
local function replayed(bid, batch, index, attempt)
  for _, raw in ipairs(redis.call('LRANGE', P .. 'hist:' .. bid .. ':' .. batch .. ':' .. index, 0, -1)) do
    local e = cmsgpack.unpack(raw)
    if (e[8] == 'replay' or e[8] == 'resend') and e[1] == attempt and e[6] ~= '' then return true end
  end
  return false
end

-- Is the SID that this record holds an older attempt's than that one?
local function of_an_older(bid, batch, index, attempt, sid)
  for _, raw in ipairs(redis.call('LRANGE', P .. 'hist:' .. bid .. ':' .. batch .. ':' .. index, 0, -1)) do
    local e = cmsgpack.unpack(raw)
    if e[6] == sid and e[1] < attempt then return true end
  end
  return false
end

local function sid_text(sid, flags)
  if sid == '' or sid == string.rep('\0', 16) then return '' end
  local hex = string.gsub(sid, '.', function(c) return string.format('%02x', string.byte(c)) end)
  return (flags % 2 == 1 and 'MM' or 'SM') .. hex
end

-- An older attempt was accepted, and a newer one has left: a duplicate, counted once however often we are told; in Redis,
-- too, for whoever asked may be gone before it has told anybody. `attempt`, `sid`, `flags`: what the record holds.
local function remember_late(bid, batch, o, attempt, sid, flags)
  local before = late_acceptance(bid, batch, o[1], o[2])
  if before and RANK[o[3]] <= RANK[before[2]] then return end
  if not before then
    twice[#twice + 1] = {bid, batch, o[1], o[2], sid_text(o[5], o[6]), attempt, sid_text(sid, flags)}
    redis.call('HINCRBY', P .. 'account', 'duplicates', 1)
  end
  remember(bid, batch, o[1], {o[2], o[3], o[4], now_s, now_s, o[5], ARGV[3], 'late', o[6]})
  -- who wants nothing more may say so to any attempt; 0: it left long ago, so it stops no sender (workers/following.py)
  if o[10] == 1 then
    follow(bid, batch, o[1], o[2], o[3], o[4], o[5], o[6], 0)
  end
end

-- Twenty refusals in a row that are the content's fault pause the broadcast; those twenty go again on resume. In a stream
-- each message has its own text, unless they are a broadcast's SMS.
local no_run = {}
local function content_run(lane, bid, batch, index, state, content)
  local run = bc_key(bid) .. ':run'
  if content == 1 then
    local b = redis.call('HMGET', bc_key(bid), 'kind', 'parent')
    if not campaign_of(bid, b[1], b[2]) then return end
    no_run[bid] = nil
    if redis.call('RPUSH', run, lane .. '\n' .. batch .. '\n' .. index) >= CONTENT_RUN then
      local key = bc_key(bid)
      if redis.call('HGET', key, 'state') == 'running' then paused[#paused + 1] = bid end
    end
  elseif state == ACCEPTED and not no_run[bid] then
    -- a full run has paused the broadcast: who was in flight then doesn't take it back
    local length = redis.call('LLEN', run)
    if length > 0 and length < CONTENT_RUN then redis.call('DEL', run) end
    no_run[bid] = length < CONTENT_RUN
  end
end

-- For metrics: what becomes of messages, and how long after their POST a callback first tells something of them.
local function tally(state, new, code, flags, told_flags, began_s)
  if new ~= state and (new == IN_DOUBT or new >= DELIVERED) then
    local kind = new * 16777216 + code
    became[kind] = (became[kind] or 0) + 1
  end
  if state <= ACCEPTED and by_callback(told_flags) and not by_callback(flags) then
    local lag = math.max(0, now_s - began_s)
    heard[lag] = (heard[lag] or 0) + 1
  end
end

local function lane_of(bid, batch)
  return redis.call('LINDEX', bc_key(bid) .. ':lanes', string.match(batch, '^%d+'))
end

local function apply(lane, bid, batch, o, broadcast)
  local led = ledger_key(bid, batch)
  local index, new, code, told_sid, told_flags = o[1], o[3], o[4], o[5], o[6]
  local raw = redis.call('GETRANGE', led, index * 32, index * 32 + 31)
  if #raw < 32 or not broadcast or broadcast == 'deleting' then
    missing = missing + 1
    return
  end
  local state, spent, flags, segments, attempt, known = head_of(raw, 1)
  local sid = string.sub(raw, 9, 24)
  -- what won over the end of this attempt (below) was not all: this one is with Twilio, too
  if attempt > 1 and attempt == o[2] and told_sid ~= '' and told_sid ~= sid and state >= ACCEPTED and state < DEAD
     and new < DEAD and of_an_older(bid, batch, index, attempt, sid) then
    return remember_late(bid, batch, o, attempt, sid, flags)
  end
  older = attempt > o[2]
  if attempt > o[2] and (told_sid == '' or told_sid ~= sid) then
    if new < ACCEPTED or new >= DEAD or o[2] == 0 then return end
    if new ~= DELIVERED and new ~= READ and replayed(bid, batch, index, o[2]) then return end
    -- an acceptance wins, whichever attempt it is about, where the newer one isn't with Twilio: a retry that still
    -- waits, a dead letter, who was skipped; or one that nobody knows to have left (rewind.lua counts it), and that was put
    -- back since. Nobody got it twice then.
    local open = state == QUEUED or state == RETRY or (state == IN_DOUBT and known == REWOUND)
    if not open and state ~= DEAD and state ~= SKIPPED then return remember_late(bid, batch, o, attempt, sid, flags) end
  end
  if attempt < o[2] then
    -- Redis has lost this attempt's intent (guard.lua); it may have lost more attempts behind it
    -- what had failed on its way went again: that this one is with Twilio is news
    local ended = state == SKIPPED or state == UNDELIVERED or state == FAILED
    if state >= ACCEPTED and state ~= DEAD and not (ended and new >= ACCEPTED and new < DEAD) then return end
    if new < ACCEPTED then new, code = IN_DOUBT, REWOUND end
    if state == UNDELIVERED or state == FAILED then
      remember(bid, batch, index, {attempt, RETRY, known, struct.unpack('>I4', raw, 25), now_s, sid, '', 'replay'})
    end
    attempt = o[2]
  elseif not may_follow(state, new, known, code) then
    -- a callback or the list was faster than our own answer; only that knows what went
    if told_flags >= BY_TEMPLATE and told_sid == sid and state >= ACCEPTED and state < DEAD then
      redis.call('SETRANGE', led, index * 32 + 1, string.char(bit.bor(flags, BY_TEMPLATE)))
    end
    return
  end
  -- it goes again because it failed on its way: only that it did arrive would be news
  if new ~= DELIVERED and new ~= READ then
    if state == RETRY and told_sid == sid then return end
    -- in doubt: a loss of Redis' last writes has made it so, and what Twilio holds is the failed one
    if (state == SKIPPED or state == IN_DOUBT) and replayed(bid, batch, index, o[2]) then return end
  end
  if attempt > 1 and (new == RETRY or new == DEAD) then
    -- an earlier attempt is known to be with Twilio: there is nothing to send again
    local late = late_acceptance(bid, batch, index)
    if late then new, code, told_sid, told_flags = late[2], late[3], late[6], late[9] end
  end
  if new == RETRY and broadcast == 'canceled' then new, code = SKIPPED, CANCELED end
  if new == RETRY and flags >= GONE then new, code = SKIPPED, FORGOTTEN
  elseif new == RETRY and never_again(flags) then new = DEAD end
  local began_s = struct.unpack('>I4', raw, 25)
  tally(state, new, code, flags, told_flags, began_s)
  flags = with_flags(flags, told_flags)
  if told_sid ~= '' then sid = told_sid end
  spent = math.min(15, spent + o[7])
  redis.call('SETRANGE', led, index * 32, record(new, spent, flags, segments, attempt, code, sid, began_s, now_s))
  moved(bid, batch, state, new)
  message_changed(bid, batch, state, new, index, attempt, code, sid, flags)
  changed = changed + 1
  judge(bid, state, new, code)
  if attempt > 1 or new == RETRY or new == IN_DOUBT or state == IN_DOUBT or state == DEAD then
    local evidence = EVIDENCE[bit.rshift(bit.band(told_flags, 0x0E), 1)]
    remember(bid, batch, index, {older and o[2] or attempt, new, code, began_s, now_s, told_sid, ARGV[3], evidence})
  end
  local batch_no = string.match(batch, '%.(%d+)$')
  if new == RETRY then retry_at(bid, lane, batch_no, index, now + o[8], broadcast == 'running')
  elseif state == RETRY then
    local its = lane == '' and lane_of(bid, batch) or lane
    redis.call('ZREM', flow_key(bid, its) .. ':retry', batch_no .. ':' .. index)
  end
  if (o[10] == 1 and (new == UNDELIVERED or new == FAILED)) or falls_back(bid, new, code) then
    follow(bid, batch, index, attempt, new, code, sid, flags, began_s)
  end
  -- who read it after all did not fail
  if state >= UNDELIVERED then redis.call('HINCRBY', bc_key(bid) .. ':codes', state .. ':' .. known, -1) end
  if new >= 8 then redis.call('HINCRBY', bc_key(bid) .. ':codes', new .. ':' .. code, 1) end
  if new == RETRY then redis.call('HINCRBY', bc_key(bid), 'retried', 1) end
  content_run(lane, bid, batch, index, new, o[9])
end

-- Most groups are fresh acceptances of records that lie together: one read and one write for all of them.
local function apply_dense(bid, batch, outcomes)
  local lowest, highest = math.huge, -1
  for _, o in ipairs(outcomes) do
    if o[3] ~= ACCEPTED or o[2] ~= 1 then return false end
    lowest, highest = math.min(lowest, o[1]), math.max(highest, o[1])
  end
  if highest - lowest >= #outcomes * 4 or redis.call('EXISTS', bc_key(bid) .. ':run') == 1 then return false end
  local led = ledger_key(bid, batch)
  local span = redis.call('GETRANGE', led, lowest * 32, highest * 32 + 31)
  table.sort(outcomes, function(a, b) return a[1] < b[1] end)
  for _, o in ipairs(outcomes) do
    local at = (o[1] - lowest) * 32 + 1
    if #span < at + 31 then return false end
    local state, _, _, _, attempt = head_of(span, at)
    if attempt ~= 1 or (state ~= SENDING and (state ~= ACCEPTED or o[6] >= BY_TEMPLATE)) then return false end
  end
  local pieces, copied, fresh, called_back = {}, 1, 0, by_callback(outcomes[1][6])
  for _, o in ipairs(outcomes) do
    local at = (o[1] - lowest) * 32 + 1
    local state, spent, flags, segments = head_of(span, at)
    if state == SENDING and at >= copied then
      pieces[#pieces + 1] = string.sub(span, copied, at - 1)
      pieces[#pieces + 1] = record(ACCEPTED, spent, bit.bor(flags, o[6]), segments, 1, o[4], o[5],
                                   struct.unpack('>I4', span, at + 24), now_s)
      copied = at + 32
      if called_back then tally(SENDING, ACCEPTED, o[4], flags, o[6], struct.unpack('>I4', span, at + 24)) end
      moved(bid, batch, SENDING, ACCEPTED)
      if wanted then message_changed(bid, batch, SENDING, ACCEPTED, o[1], 1, o[4], o[5], bit.bor(flags, o[6])) end
      changed, fresh = changed + 1, fresh + 1
    end
  end
  if #pieces > 0 then
    count(bid, REQUESTS, fresh)
    pieces[#pieces + 1] = string.sub(span, copied)
    redis.call('SETRANGE', led, lowest * 32, table.concat(pieces))
  end
  return true
end

local states = {}
for _, group in ipairs(cmsgpack.unpack(ARGV[4])) do
  local lane, bid, batch, outcomes = group[1], group[2], group[3], group[4]
  if #outcomes < 2 or not apply_dense(bid, batch, outcomes) then
    local broadcast = states[bid]
    if broadcast == nil then
      broadcast = redis.call('HGET', bc_key(bid), 'state')
      states[bid] = broadcast
    end
    for _, o in ipairs(outcomes) do apply(lane, bid, batch, o, broadcast) end
  end
end
-- Before the counters, which would complete a broadcast that these refusals were the last of.
local told = {}
for _, bid in ipairs(paused) do
  local b = redis.call('HMGET', bc_key(bid), 'kind', 'parent')
  local campaign = campaign_of(bid, b[1], b[2])
  if campaign and redis.call('HGET', bc_key(campaign), 'state') == 'running' then
    local top = redis.call('HGETALL', bc_key(bid) .. ':codes')
    local code, most = '', 0
    for i = 1, #top, 2 do
      if string.sub(top[i], 1, 3) == '10:' and tonumber(top[i + 1]) > most then
        code, most = string.sub(top[i], 4), tonumber(top[i + 1])
      end
    end
    local reason = 'content:' .. code
    pause_campaign(campaign, reason)
    told[#told + 1] = {campaign, reason}
  end
end
apply_counters()
-- After the counters: what has nothing left to send is completed, not stopped.
for bid, kinds in pairs(tallies) do
  local reason, campaign = stop_if_failing(bid, kinds)
  if reason then told[#told + 1] = {campaign, reason} end
end
publish()
return cmsgpack.pack({changed, twice, told, completed, missing, flat(became), flat(heard)})
