#!lua flags=allow-oom
-- exporter: be the one exporter that reads for the installation, or go on being it; somebody else's lease is left alone.
--
-- ARGV[3] the caller's own name  ARGV[4] lease (ms); 0 gives it back
-- Returns 1 if the caller is the one now, else 0. Whoever was stopped for longer than its lease finds out by asking.

local key = P .. 'exporter'
local holder = redis.call('GET', key)
if holder and holder ~= ARGV[3] then return 0 end
if ARGV[4] == '0' then
  redis.call('DEL', key)
  return 0
end
redis.call('SET', key, ARGV[3], 'PX', ARGV[4])
return 1
