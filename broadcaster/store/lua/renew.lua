#!lua flags=allow-oom
-- renew: a live worker keeps its lease, tells what it saw of Twilio, and learns its share of the account's concurrency.
--
-- ARGV[3] worker  ARGV[4] lease (µs)  ARGV[5] 1 to take a first lease, 0 to renew
-- ARGV[6] limit to begin with  ARGV[7] msgpack map about the worker (first lease only)
-- ARGV[8] msgpack list, seen since the last call: answered, throttled, pressed, unknown, busy (µs), peak, ceiling, full
--   (what they mean: domain/concurrency.py)
-- ARGV[9] 1 to steer now, although the second is not over  ARGV[10] 1 if it could send a probe now
-- ARGV[11] turn it answers, '' for none; then ARGV[12] what to remember (JSON)  ARGV[13] limit
--   ARGV[14] since when Twilio is silent (unix seconds), '' if it isn't
-- First lease only: ARGV[15] version of the program, ARGV[16] the newest data format it knows, ARGV[17] the name under which
--   the same process had a lease before, or '': it is lost no more, and if that one was asked to drain, so is this one
-- Returns msgpack [share, limit, workers, opt-out epoch, account's pause reason, silent since or '', 1 for a probe,
--   1 if it is asked to drain (drain.lua), 1 if it is on duty, µs until a lane is due (-1: none has work), turn]; LEASE if
--   the lease is lost. `turn` is nil, or for one worker a second
--   [turn, remembered, µs, answered, throttled, pressed, unknown, busy (µs), peak, ceiling, full]: what all workers saw.
--   Its next call answers that turn, with what domain/circuit.py makes of it; an answer to any but the last turn changes nothing.

local PROBE, SECOND = 950000, 950000
-- So many workers are on duty, as long as they live: they run the installation's jobs. All of them asking every second what
-- there is to do costs Redis as much as sending some hundred messages. With two, the end of one is not even noticed.
local ON_DUTY = 2
local worker, first = ARGV[3], ARGV[5] == '1'
if not first and not redis.call('ZSCORE', P .. 'workers', worker) then
  return redis.error_reply('LEASE this worker has no lease')
end
local own = P .. 'worker:' .. worker
redis.call('ZADD', P .. 'workers', now + tonumber(ARGV[4]), worker)
redis.call('HDEL', P .. 'overdue', worker)
if first then
  redis.call('HSET', own, 'about', ARGV[7], 'since', now_s, 'version', ARGV[15], 'format', ARGV[16])
  redis.call('PERSIST', own)
  local asked = ARGV[17] ~= '' and redis.call('HGET', P .. 'worker:' .. ARGV[17], 'draining')
  if asked then redis.call('HSET', own, 'draining', asked) end
  if ARGV[17] ~= '' then redis.call('ZREM', P .. 'lost', ARGV[17]) end
end

local account = P .. 'account'
local v = redis.call('HMGET', account, 'limit', 'moved', 'paused', 'seen', 'turn', 'silent', 'probed', 'remembered', 'duty')
local limit, moved, silent = tonumber(v[1] or ARGV[6]), tonumber(v[2] or 0), v[6] or ''
if moved == 0 then
  moved = now
  redis.call('HSET', account, 'limit', limit, 'moved', now)
end
if ARGV[11] ~= '' and ARGV[11] == v[5] then
  limit = tonumber(ARGV[13])
  if ARGV[14] ~= silent then redis.call('HSET', account, 'silent', ARGV[14], 'probed', 0) end
  if ARGV[14] ~= silent then v[7] = '0' end
  silent = ARGV[14]
  redis.call('HSET', account, 'limit', limit, 'remembered', ARGV[12], 'turn', '')
  v[8] = ARGV[12]
end

local workers = redis.call('ZRANGEBYSCORE', P .. 'workers', now, '+inf')
local seen = v[4] and cmsgpack.unpack(v[4]) or {0, 0, 0, 0, 0, 0, 0}
local report = cmsgpack.unpack(ARGV[8])
local turn
if #report > 0 then
  -- answered, throttled, pressed, unknown, busy are sums; of ceilings the lowest; full is an or; a peak stays its worker's
  for i = 1, 5 do seen[i] = seen[i] + report[i] end
  if report[7] > 0 and (seen[6] == 0 or report[7] < seen[6]) then seen[6] = report[7] end
  seen[7] = math.max(seen[7], report[8])
  redis.call('HSET', own, 'seen', now_s, 'peak', report[6])
  if now - moved >= SECOND or ARGV[9] == '1' then
    local peak = 0
    for _, other in ipairs(workers) do peak = peak + tonumber(redis.call('HGET', P .. 'worker:' .. other, 'peak') or 0) end
    turn = {worker .. '.' .. string.format('%.0f', now), v[8] or '', now - moved,
            seen[1], seen[2], seen[3], seen[4], seen[5], peak, seen[6], seen[7]}
    redis.call('HSET', account, 'moved', now, 'turn', turn[1])
    seen = {0, 0, 0, 0, 0, 0, 0}
  end
  redis.call('HSET', account, 'seen', cmsgpack.pack(seen))
else redis.call('HSET', own, 'seen', now_s) end

local probe = 0
if silent ~= '' and ARGV[10] == '1' and now - tonumber(v[7] or 0) >= PROBE then
  probe = 1
  redis.call('HSET', account, 'probed', now)
end
local on_duty, names = 0, {}
for name in string.gmatch(v[9] or '', '[^\n]+') do
  local ends = redis.call('ZSCORE', P .. 'workers', name)
  if ends and tonumber(ends) > now then names[#names + 1] = name end
  if name == worker then on_duty = 1 end
end
if on_duty == 0 and #names < ON_DUTY then
  names[#names + 1] = worker
  redis.call('HSET', account, 'duty', table.concat(names, '\n'))
  on_duty = 1
end
-- what does not divide evenly goes to the first by name
local place = 0
for _, other in ipairs(workers) do if other < worker then place = place + 1 end end
local due = redis.call('ZRANGE', P .. 'due', 0, 0, 'WITHSCORES')
local whole, count = math.floor(limit), math.max(1, #workers)
local share = math.max(1, math.floor(whole / count) + (place < whole % count and 1 or 0))
return cmsgpack.pack({share, limit, count, redis.call('GET', P .. 'optouts:epoch') or '0', v[3] or '', silent, probe,
                      redis.call('HEXISTS', own, 'draining'), on_duty,
                      due[1] and math.max(0, math.floor(tonumber(due[2]) - now)) or -1, turn})
