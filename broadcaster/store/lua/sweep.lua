#!lua flags=allow-oom
-- sweep: take back the claims of workers whose lease ran out, seen so on two passes at least `patience` apart,
-- so that a stalled Redis ends none.
--
-- ARGV[3] patience (µs)  ARGV[4] claims to end at most in this call
-- Returns msgpack: list of [worker, claims ended, claims left, messages that are in doubt now].

local patience, budget = tonumber(ARGV[3]), tonumber(ARGV[4])
local swept = {}
-- who did not leave is shown for a day
local LOST_KEPT = 86400000000
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', now, 'LIMIT', 0, 20)) do
  local seen = redis.call('HGET', P .. 'overdue', worker)
  if not seen then redis.call('HSET', P .. 'overdue', worker, now)
  elseif now - tonumber(seen) >= patience then
    local claims = P .. 'worker:' .. worker .. ':claims'
    local found, done, before = redis.call('HGETALL', claims), 0, doubted
    for i = 1, #found, 2 do
      if budget <= 0 then break end
      give_back(cmsgpack.unpack(found[i + 1]), {5, worker})
      redis.call('HDEL', claims, found[i])
      done, budget = done + 1, budget - 1
    end
    local left = redis.call('HLEN', claims)
    swept[#swept + 1] = {worker, done, left, doubted - before}
    if left == 0 then
      redis.call('ZREM', P .. 'workers', worker)
      redis.call('HDEL', P .. 'overdue', worker)
      redis.call('ZADD', P .. 'lost', now, worker)
      redis.call('HDEL', P .. 'worker:' .. worker, 'nonce', 'answer')
      redis.call('EXPIRE', P .. 'worker:' .. worker, 86400)
    end
  end
end
apply_counters()
redis.call('ZREMRANGEBYSCORE', P .. 'lost', '-inf', now - LOST_KEPT)
if #swept > 0 then wake() end
return cmsgpack.pack(swept)
