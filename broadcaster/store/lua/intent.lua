#!lua flags=allow-oom
-- intent: the gate. Says which records may go now, and writes `sending` for them before anybody POSTs.
--
-- ARGV[3] worker  ARGV[4] opt-out epoch the worker has seen
-- ARGV[5] msgpack: list of [claim, lane, broadcast, batch, [index, attempt, index, attempt, …], timed (0|1)]
--   where `attempt` is the record's attempt as claimed; a yes raises it by one.
-- Returns msgpack: list of [verdict, yes, waits]: `waits` of a group that is timed, ms since their acceptance of those that have
--   a yes for the first time, up to a second too many (a record keeps the second); verdict '' with `yes` one character '1' or '0'
--   a record, or a refusal of the whole group: 'claim', 'server', 'optouts', 'account', 'lane', 'hold', 'expired', 'window', or the broadcast's state.
--   'server': nobody has asked guard.lua yet whether this server, which is another one than before, has lost writes. It may
--   know our scripts all the same: from another installation, or from when it was the primary before.
-- Asked twice with the same claim it answers the same: the claim is this worker's alone, and it has not POSTed yet.

local claims = P .. 'worker:' .. ARGV[3] .. ':claims'
local groups = cmsgpack.unpack(ARGV[5])
local leased = redis.call('ZSCORE', P .. 'workers', ARGV[3])
local account = redis.call('HMGET', P .. 'account', 'paused', 'rewind')
local optouts = redis.call('GET', P .. 'optouts:epoch') or '0'
local looked_at = redis.call('HGET', P .. 'server', 'run')
local unseen = looked_at and string.match(redis.call('INFO', 'server'), 'run_id:([^\r\n]+)') ~= looked_at

-- a broadcast is one for many lanes
local read = {}
local function about(bid)
  read[bid] = read[bid] or redis.call('HMGET', bc_key(bid), 'state', 'expires', 'windows')
  return read[bid]
end

local function refusal(group)
  if not leased or redis.call('HEXISTS', claims, group[1]) == 0 then return 'claim' end
  if unseen then return 'server' end
  if account[2] or (account[1] and account[1] ~= '') then return 'account' end
  if optouts ~= ARGV[4] then return 'optouts' end
  local lane = redis.call('HMGET', lane_key(group[2]), 'paused', 'hold')
  if lane[1] and lane[1] ~= '' then return 'lane' end
  if lane[2] and tonumber(lane[2]) > now then return 'hold' end
  local b = about(group[3])
  if b[1] ~= 'running' then return b[1] or 'gone' end
  if b[2] and b[2] ~= '' and tonumber(b[2]) * 1000000 <= now then return 'expired' end
  if opens_at(b[3]) > now then return 'window' end
  return nil
end

-- Reads and writes the span of the ledger between the lowest and highest index once, where that is dense and the
-- indexes ascend (retries come in the order they are due).
local function pass(group)
  local bid, batch, wanted = group[3], group[4], group[5]
  local led = ledger_key(bid, batch)
  local yes, waits = {}, {}
  local lowest, highest, ascending = math.huge, -1, true
  for i = 1, #wanted, 2 do
    ascending = ascending and wanted[i] > highest
    lowest, highest = math.min(lowest, wanted[i]), math.max(highest, wanted[i])
  end
  local dense = ascending and (highest - lowest + 1) <= #wanted * 2
  local span = dense and redis.call('GETRANGE', led, lowest * 32, highest * 32 + 31)
  local pieces, copied = {}, 1
  for i = 1, #wanted, 2 do
    local index, expected = wanted[i], wanted[i + 1]
    local at = dense and (index - lowest) * 32 + 1 or 1
    local raw = dense and span or redis.call('GETRANGE', led, index * 32, index * 32 + 31)
    local answer = '0'
    if #raw >= at + 31 then
      local state, spent, flags, segments, attempt, code = head_of(raw, at)
      if (state == QUEUED or state == RETRY) and attempt == expected and not never_again(flags) then
        local new = record(SENDING, spent, without_template(flags), segments, attempt + 1, code, NO_SID, now_s, now_s)
        if dense then
          pieces[#pieces + 1] = string.sub(span, copied, at - 1)
          pieces[#pieces + 1] = new
          copied = at + 32
        else redis.call('SETRANGE', led, index * 32, new) end
        moved(bid, batch, state, SENDING)
        answer = '1'
        if group[6] == 1 and expected == 0 then
          waits[#waits + 1] = math.max(0, math.floor(now / 1000) - struct.unpack('>I4', raw, at + 28) * 1000)
        end
      elseif state == SENDING and attempt == expected + 1 then answer = '1' end
    end
    yes[#yes + 1] = answer
  end
  if #pieces > 0 then
    pieces[#pieces + 1] = string.sub(span, copied)
    redis.call('SETRANGE', led, lowest * 32, table.concat(pieces))
  end
  return table.concat(yes), waits
end

local answers = {}
for _, group in ipairs(groups) do
  local no = refusal(group)
  if no then answers[#answers + 1] = {no, '', {}}
  else answers[#answers + 1] = {'', pass(group)} end
end
apply_counters()
return cmsgpack.pack(answers)
