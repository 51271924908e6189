#!lua flags=allow-oom
-- renew: a live worker keeps its lease and learns its share of the account's concurrency.
--
-- ARGV[3] worker  ARGV[4] lease (µs)  ARGV[5] 1 to take a first lease, 0 to renew
-- ARGV[6] accepted since the last call  ARGV[7] throttled since the last call  ARGV[8] 1 if the share was all in use
-- ARGV[9] limit to begin with  ARGV[10] limit at most  ARGV[11] msgpack map about the worker (first lease only)
-- Returns msgpack [share, limit, workers, opt-out epoch, account's pause reason, run id is not here]; LEASE if it is lost.
-- The limit rises by one per second of success at full use. It falls, by a tenth to a half, in a second in which more
-- than 3 % of all workers' answers were 429: a few stray ones say nothing about concurrency, and must not end in a crawl.

local STRAY = 0.03
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
local v = redis.call('HMGET', account, 'limit', 'moved', 'paused', 'ok', 'throttled', 'full')
local limit, last = tonumber(v[1] or ARGV[9]), tonumber(v[2] or 0)
local ok, throttled = tonumber(v[4] or 0) + tonumber(ARGV[6]), tonumber(v[5] or 0) + tonumber(ARGV[7])
local full = (v[6] == '1' or ARGV[8] == '1') and '1' or '0'
if now - last >= 1000000 then
  local share = throttled / math.max(1, ok + throttled)
  if share > STRAY then limit = math.max(1, limit * math.max(0.5, math.min(0.9, 1 - share)))
  elseif ok > 0 and full == '1' then limit = math.min(tonumber(ARGV[10]), limit + 1) end
  redis.call('HSET', account, 'limit', limit, 'moved', now, 'ok', 0, 'throttled', 0, 'full', '0')
else redis.call('HSET', account, 'ok', ok, 'throttled', throttled, 'full', full) end
local workers = math.max(1, redis.call('ZCOUNT', P .. 'workers', now, '+inf'))
local share = math.max(1, math.floor(limit / workers))
return cmsgpack.pack({share, limit, workers, redis.call('GET', P .. 'optouts:epoch') or '0', v[3] or ''})
