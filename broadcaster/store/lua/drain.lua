#!lua flags=allow-oom
-- drain: ask workers to finish what is in flight, give back the rest and end.
--
-- ARGV[3] msgpack: list of workers
-- Returns msgpack: for each 'asked', 'known' if it was before, 'older' if its version can't be asked so, 'gone' if it has no
--   lease. It hears of it with its next renewal; nothing takes it back, and if it loses its lease it is asked still (renew.lua).

local answers = {}
for i, worker in ipairs(cmsgpack.unpack(ARGV[3])) do
  local own = P .. 'worker:' .. worker
  if not redis.call('ZSCORE', P .. 'workers', worker) then answers[i] = 'gone'
  elseif redis.call('HEXISTS', own, 'format') == 0 then answers[i] = 'older'
  else answers[i] = redis.call('HSETNX', own, 'draining', now_s) == 1 and 'asked' or 'known' end
end
return cmsgpack.pack(answers)
