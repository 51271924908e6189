#!lua flags=allow-oom
-- fall_back: put an SMS in the place of messages that WhatsApp could not deliver, once each: into a stream of the broadcast's,
-- in the same step in which their records get the flag FELL_BACK. Never refused for memory: each follows from a message that
-- was taken.
--
-- ARGV[3] broadcast, or stream of single messages  ARGV[4] print of the stream, as in append.lua  ARGV[5] id of the stream, if one has to begin
-- ARGV[6] msgpack: its facts (streams.lua)  ARGV[7] opt-out epoch that the caller has seen
-- ARGV[8] '1': the SMS are in doubt, since each may have gone before Redis lost writes (their message, or an attempt before it,
--   left before); '0': none is
-- ARGV[9] msgpack: list of messages [batch, index, attempt, code] as the caller saw them
-- ARGV[10] msgpack: a batch with an SMS for each (streams.lua), in doubt as ARGV[8] says
-- Returns msgpack [verdict, stream, batch, unfit]: 'ok' and where they are. 'unfit' and the places (from 0) in ARGV[9] of those
--   that no SMS may follow: another attempt, state or code by now, an SMS went already, the person was forgotten, somebody
--   has canceled it, an attempt before is with Twilio. 'loss' where ARGV[8] is otherwise by now, 'rewinding', 'expired', 'removed' (people's data are), the
--   broadcast's state that forbids it ('gone' if there is none), 'server' or 'optouts' as in append.lua, 'taken':
--   name another id. Only 'ok' changes anything. Twice with the same input: 'unfit', all of them.
-- A paused broadcast's wait; a completed one runs again.

local bid, key, S = ARGV[3], bc_key(ARGV[3]), stream(ARGV[4], ARGV[5], ARGV[7], ARGV[6])
local doubtful, messages = ARGV[8] == '1', cmsgpack.unpack(ARGV[9])
local function answer(verdict, unfit) return cmsgpack.pack({verdict, '', '', unfit or {}}) end

local b = redis.call('HMGET', key, 'state', 'expires', 'removed')
local state = b[1] or 'gone'
if b[3] then return answer('removed') end
if state ~= 'running' and state ~= 'paused' and state ~= 'completed' then return answer(state) end
for _, child in ipairs(fallbacks_of(bid)) do
  -- by itself: somebody wants no SMS
  if redis.call('HGET', bc_key(child), 'state') == 'canceled' then return answer('canceled') end
end
if b[2] and b[2] ~= '' and tonumber(b[2]) * 1000000 <= now then return answer('expired') end
if redis.call('HEXISTS', P .. 'account', 'rewind') == 1 then return answer('rewinding') end
local loss = tonumber(redis.call('HGET', P .. 'rewound', 'at') or 0)

-- Did an attempt leave before the loss? Then what was lost may hold an SMS. Each attempt that was followed by another has a
-- line in the history; of very many the first may have gone.
local function left_before_loss(m, attempt, began_s)
  if loss == 0 or began_s <= loss or attempt == 1 then return loss > 0 and began_s <= loss end
  local first
  for _, raw in ipairs(redis.call('LRANGE', P .. 'hist:' .. bid .. ':' .. m[1] .. ':' .. m[2], 0, -1)) do
    local e = cmsgpack.unpack(raw)
    if e[8] ~= 'late' then
      if e[4] <= loss then return true end
      first = first or e[1] == 1
    end
  end
  return not first and tonumber(redis.call('HGET', key, 'created') or 0) <= loss
end

local function flags_if_fit(m)
  local raw = redis.call('GETRANGE', ledger_key(bid, m[1]), m[2] * 32, m[2] * 32 + 31)
  if #raw < 32 then return nil end
  local its, _, flags, _, attempt, code = head_of(raw, 1)
  if its < UNDELIVERED or its > DEAD or attempt ~= m[3] or code ~= m[4] or not UNREACHABLE[code] then return nil end
  if never_again(flags) or stopped(flags) then return nil end
  local late = attempt > 1 and late_acceptance(bid, m[1], m[2])
  if late and late[2] < UNDELIVERED then return nil end
  return flags, left_before_loss(m, attempt, (struct.unpack('>I4', raw, 25)))
end

local flags, unfit = {}, {}
for i, m in ipairs(messages) do
  local its, before = flags_if_fit(m)
  if not its then unfit[#unfit + 1] = i - 1
  elseif before ~= doubtful then return answer('loss') end
  flags[i] = its or 0
end
if #unfit > 0 then return answer('unfit', unfit) end
local refused = open_stream(S)
if refused then return answer((refused == 'server' or refused == 'optouts') and refused or 'taken') end

local batch = write_batch(S, cmsgpack.unpack(ARGV[10]))
for i, m in ipairs(messages) do
  redis.call('SETRANGE', ledger_key(bid, m[1]), m[2] * 32 + 1, string.char(bit.bor(flags[i], FELL_BACK)))
end
redis.call('HINCRBY', key, 'fallbacks', #messages)
close_stream(S)
if doubtful then
  -- settle.lua puts back what did not leave: the flow gives nothing of it before, nor once more
  local flow = flow_key(S.bid, S.lanes[1][1])
  redis.call('HSET', flow, 'head', redis.call('HGET', flow, 'n'), 'pos', 0)
end
if state == 'paused' then pause_fallbacks(bid, redis.call('HGET', key, 'reason') or '')
elseif state == 'completed' and redis.call('HGET', bc_key(S.bid), 'state') ~= 'completed' then
  run_again(bid)
  publish()
end
return cmsgpack.pack({'ok', S.bid, batch, {}})
