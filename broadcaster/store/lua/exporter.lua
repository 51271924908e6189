#!lua flags=allow-oom
-- exporter: be the one exporter that reads for the installation, or go on being it; somebody else's lease is left alone.
--
-- ARGV[3] the caller's own name  ARGV[4] lease (ms); 0 gives it back
-- Returns 1 if the caller is the one now, for at least half a lease, else 0. Whoever was stopped for longer finds out by
--   asking. A lease that is younger is left as it is: a write waits for the disk, and a scrape with it.

local key = P .. 'exporter'
local holder = redis.call('GET', key)
if holder and holder ~= ARGV[3] then return 0 end
if ARGV[4] == '0' then
  redis.call('DEL', key)
  return 0
end
if holder and redis.call('PTTL', key) > tonumber(ARGV[4]) / 2 then return 1 end
redis.call('SET', key, ARGV[3], 'PX', ARGV[4])
return 1
