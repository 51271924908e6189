#!lua flags=allow-oom
-- renew: a live worker keeps its lease and learns its share of the account's concurrency.
--
-- ARGV[3] worker  ARGV[4] lease (µs)  ARGV[5] 1 to take a first lease, 0 to renew
-- ARGV[6] accepted since the last call  ARGV[7] throttled since the last call  ARGV[8] 1 if the share was all in use
-- ARGV[9] limit to begin with  ARGV[10] limit at most  ARGV[11] msgpack map about the worker (first lease only)
-- Returns msgpack [share, limit, workers, opt-out epoch, account's pause reason, run id is not here]; LEASE if it is lost.
-- The limit rises by one per second of success at full use and falls by a tenth per second with a 429.

local worker, first = ARGV[3], ARGV[5] == '1'
if not first and not redis.call('ZSCORE', P .. 'workers', worker) then
  return redis.error_reply('LEASE this worker has no lease')
end
redis.call('ZADD', P .. 'workers', now + tonumber(ARGV[4]), worker)
redis.call('HDEL', P .. 'overdue', worker)
if first then
  redis.call('HSET', P .. 'worker:' .. worker, 'about', ARGV[11], 'since', now_s)
  redis.call('PERSIST', P .. 'worker:' .. worker)
end
redis.call('HSET', P .. 'worker:' .. worker, 'seen', now_s)

local account = P .. 'account'
local v = redis.call('HMGET', account, 'limit', 'moved', 'paused')
local limit, last = tonumber(v[1] or ARGV[9]), tonumber(v[2] or 0)
if now - last >= 1000000 then
  local new = limit
  if tonumber(ARGV[7]) > 0 then new = math.max(1, limit * 0.9)
  elseif tonumber(ARGV[6]) > 0 and ARGV[8] == '1' then new = math.min(tonumber(ARGV[10]), limit + 1) end
  if new ~= limit or not v[1] then
    redis.call('HSET', account, 'limit', new, 'moved', now)
    limit = new
  end
end
local workers = math.max(1, redis.call('ZCOUNT', P .. 'workers', now, '+inf'))
local share = math.max(1, math.floor(limit / workers))
return cmsgpack.pack({share, limit, workers, redis.call('GET', P .. 'optouts:epoch') or '0', v[3] or ''})
