#!lua flags=allow-oom
-- leave: a worker that ends in good order gives back its lease and whatever it still held.
--
-- ARGV[3] worker  ARGV[4] claims to end at most in this call
-- Returns claims left; 0 means the worker is gone. What is still `sending` becomes in doubt: it asked for no outcome.

local worker = ARGV[3]
local claims = P .. 'worker:' .. worker .. ':claims'
local found = redis.call('HGETALL', claims)
local done = 0
for i = 1, #found, 2 do
  if done >= tonumber(ARGV[4]) then break end
  give_back(cmsgpack.unpack(found[i + 1]), {5, worker})
  redis.call('HDEL', claims, found[i])
  done = done + 1
end
apply_counters()
local left = redis.call('HLEN', claims)
if left == 0 then
  redis.call('ZREM', P .. 'workers', worker)
  redis.call('HDEL', P .. 'overdue', worker)
  redis.call('ZREM', P .. 'lost', worker)
  redis.call('HDEL', P .. 'worker:' .. worker, 'nonce', 'answer')
  redis.call('EXPIRE', P .. 'worker:' .. worker, 86400)
end
wake()  -- for what it gave back, here or before
return left
