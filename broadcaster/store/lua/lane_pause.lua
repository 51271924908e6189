#!lua flags=allow-oom
-- lane_pause: stop one lane with a reason ('' resumes it), hold it until a time, or give it another rate, all at once.
--
-- ARGV[3] lane  ARGV[4] 'pause' | 'resume' | 'hold' | 'rate'
-- ARGV[5] the reason | '' | microseconds from now | segments a second
-- ARGV[6] (hold only) the reason
-- A resume also forgets how it was slowed down before (workers/slowing.py).
-- Returns 'ok'. A lane that has never been begins to be. `resumed` is kept: the unix second from which on failures count
--   again that would stop it.

local lane, verb, value = ARGV[3], ARGV[4], ARGV[5]
local key = lane_key(lane)
redis.call('SADD', P .. 'lanes', lane)
if verb == 'pause' then
  redis.call('HSET', key, 'paused', value)
  redis.call('ZREM', P .. 'due', lane)
elseif verb == 'hold' then
  local until_us = now + tonumber(value)
  if until_us > tonumber(redis.call('HGET', key, 'hold') or 0) then
    redis.call('HSET', key, 'hold', until_us, 'hold_reason', ARGV[6] or '')
  end
else
  if verb == 'rate' then redis.call('HSET', key, 'rate', value)
  else
    if (redis.call('HGET', key, 'paused') or '') ~= '' then redis.call('HSET', key, 'resumed', now_s) end
    redis.call('HSET', key, 'paused', '', 'hold', 0)
    redis.call('HDEL', key, 'slowed')
  end
  local tat = tonumber(redis.call('HGET', key, 'tat') or 0)
  -- a permit clock set by a slower rate must not outlive it
  if verb == 'rate' then redis.call('HSET', key, 'tat', string.format('%.0f', math.min(tat, now + 1000000 / tonumber(value)))) end
  lane_due(lane, now)
  wake()
end
return 'ok'
