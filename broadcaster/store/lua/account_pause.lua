#!lua flags=allow-oom
-- account_pause: stop everything with a reason ('' resumes).
--
-- ARGV[3] the reason or ''
-- `resumed` is kept: the unix second from which on failures count again that would stop it.
-- Returns 1 if that changed anything, else 0.

local key = P .. 'account'
local before = redis.call('HGET', key, 'paused') or ''
if before == ARGV[3] then return 0 end
if before ~= '' and ARGV[3] ~= '' then return 0 end
redis.call('HSET', key, 'paused', ARGV[3])
if ARGV[3] == '' then
  redis.call('HSET', key, 'resumed', now_s)
  wake()
end
return 1
