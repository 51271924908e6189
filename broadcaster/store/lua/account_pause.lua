#!lua flags=allow-oom
-- account_pause: stop everything with a reason ('' resumes).
--
-- ARGV[3] the reason or ''
-- Returns 1 if that changed anything, else 0.

local key = P .. 'account'
local before = redis.call('HGET', key, 'paused') or ''
if before == ARGV[3] then return 0 end
if before ~= '' and ARGV[3] ~= '' then return 0 end
redis.call('HSET', key, 'paused', ARGV[3])
if ARGV[3] == '' then wake() end
return 1
