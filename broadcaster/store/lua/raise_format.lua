#!lua flags=allow-oom
-- raise_format: give the installation a newer data format, so that no program that is older reads what is written in it.
--
-- ARGV[3] format wanted  ARGV[4] epoch that the installation gets  ARGV[5] grace (µs): a worker counts as alive until its
--   lease has been over, or it was swept, for so long  ARGV[6] pause (µs) between the two steps
-- Returns [verdict, workers]: 'ok': every older process is refused, whatever it asks; 'older': the workers that live and are
--   too old, each 'ID (version)', and nothing was changed; 'begun': no older process starts any more, ask again after the pause.
-- First `format` is set, which whoever starts reads; only then, when everybody who had read the old one has joined, the
--   epoch is another. `raised` says from which epoch that follows, for those who know the format and go on (Store.follow), and up to
--   which format older processes are kept out. Asked again when done: 'ok'. Under the old epoch it is refused like any script.

local wanted, key = tonumber(ARGV[3]), P .. 'raised'
local v = redis.call('HMGET', key, 'fenced', 'began')
if tonumber(v[1] or 1) >= wanted then return {'ok', {}} end

local older = {}
-- whom sweep.lua has taken out may have stalled only, and comes back with outcomes of what it had in flight
for _, kind in ipairs({'workers', 'lost'}) do
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. kind, now - tonumber(ARGV[5]), '+inf')) do
    local w = redis.call('HMGET', P .. 'worker:' .. worker, 'format', 'version')
    if tonumber(w[1] or 1) < wanted then older[#older + 1] = worker .. ' (' .. (w[2] or 'unknown version') .. ')' end
  end
end
if #older > 0 then return {'older', older} end

if tonumber(redis.call('GET', P .. 'format') or 1) < wanted then
  redis.call('SET', P .. 'format', wanted)
  redis.call('HSET', key, 'began', now)
  return {'begun', {}}
end
if v[2] and now - tonumber(v[2]) < tonumber(ARGV[6]) then return {'begun', {}} end
if ARGV[4] == ARGV[2] then return redis.error_reply('ERR the new epoch is the old one') end
redis.call('HSET', key, ARGV[2], ARGV[4], 'fenced', wanted)
redis.call('SET', P .. 'epoch', ARGV[4])
return {'ok', {}}
