#!lua flags=allow-oom
-- reply_done: somebody has dealt with a reply: it is flagged no more.
--
-- ARGV[3] its id  ARGV[4] what was done, opaque
-- Returns 1; 0 if that was done before, -1 if there is no such reply.

local key = P .. 'reply:' .. ARGV[3]
if redis.call('EXISTS', key) == 0 then return -1 end
redis.call('ZREM', P .. 'replies:flagged', ARGV[3])
return redis.call('HSETNX', key, 'done', ARGV[4] .. '|' .. now_s)
