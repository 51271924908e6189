#!lua flags=no-writes
-- overview: what an installation is about, as far as that is cheap however large it is: sizes, and who is there.
--
-- ARGV[3] broadcasts and streams to name at most of each kind  ARGV[4] workers at most  ARGV[5] of the newest so many
-- Returns msgpack [now (µs), account, sizes, active, doubtful, importing, newest, workers, lost, scheduled]:
--   account: paused, rate, tat, limit, silent, rewind, resumed, duplicates ('' for what is not set)
--   sizes: broadcasts, streams, lanes, opt-outs, parked callbacks, failures, jobs, deliveries queued, deliveries parked
--   workers: list of [name, end of lease (µs), seen (s), peak, draining]; lost: list of [name, seen (s)], of the last day
--   scheduled: the second at which the next scheduled broadcast starts, or should have started; 0: none is

local DAY = 86400000000
local function filled(values)
  for i = 1, #values do values[i] = values[i] or '' end
  return values
end
local function members(set)
  local key = P .. set
  local most = tonumber(ARGV[3])
  if redis.call('SCARD', key) <= most then return redis.call('SMEMBERS', key) end
  return redis.call('SRANDMEMBER', key, most)
end

local account = filled(redis.call('HMGET', P .. 'account', 'paused', 'rate', 'tat', 'limit', 'silent', 'rewind', 'resumed', 'duplicates'))
local queued, parked = 0, 0
for _, endpoint in ipairs(redis.call('HKEYS', P .. 'endpoints')) do
  queued = queued + redis.call('ZCARD', P .. 'endpoint:' .. endpoint .. ':queue')
  parked = parked + redis.call('ZCARD', P .. 'endpoint:' .. endpoint .. ':parked')
end
local sizes = {
  redis.call('ZCARD', P .. 'bcs'), redis.call('ZCARD', P .. 'streams'), redis.call('SCARD', P .. 'lanes'),
  redis.call('HLEN', P .. 'optouts'), redis.call('ZCARD', P .. 'parked'), redis.call('LLEN', P .. 'failures'),
  redis.call('ZCARD', P .. 'arq'), queued, parked,
}
local newest = {}
for _, all in ipairs({'bcs', 'streams'}) do
  for _, bid in ipairs(redis.call('ZREVRANGE', P .. all, 0, tonumber(ARGV[5]) - 1)) do newest[#newest + 1] = bid end
end
local workers, lost = {}, {}
local leases = redis.call('ZREVRANGE', P .. 'workers', 0, tonumber(ARGV[4]) - 1, 'WITHSCORES')
for i = 1, #leases, 2 do
  local v = filled(redis.call('HMGET', P .. 'worker:' .. leases[i], 'seen', 'peak', 'draining'))
  workers[#workers + 1] = {leases[i], tonumber(leases[i + 1]), v[1], v[2], v[3]}
end
for _, worker in ipairs(redis.call('ZREVRANGEBYSCORE', P .. 'lost', '+inf', now - DAY, 'LIMIT', 0, ARGV[4])) do
  lost[#lost + 1] = {worker, redis.call('HGET', P .. 'worker:' .. worker, 'seen') or ''}
end
local scheduled = tonumber(redis.call('ZRANGE', P .. 'scheduled', 0, 0, 'WITHSCORES')[2] or 0)
return cmsgpack.pack({
  now, account, sizes, members('active'), members('doubtful'), members('importing'), newest, workers, lost, scheduled,
})
