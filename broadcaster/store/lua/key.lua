#!lua flags=allow-oom
-- key: keep or change an API key, and move the epoch, so that every process reads the keys anew at its next request.
--
-- ARGV[3] id  ARGV[4] the key (msgpack), or '' to forget it  ARGV[5] 1: only if there is one of that id
-- Returns 1 if that changed anything, else 0.

local before = redis.call('HGET', P .. 'keys', ARGV[3])
if ARGV[5] == '1' and not before then return 0 end
if before == ARGV[4] or (not before and ARGV[4] == '') then return 0 end
if ARGV[4] == '' then redis.call('HDEL', P .. 'keys', ARGV[3])
else redis.call('HSET', P .. 'keys', ARGV[3], ARGV[4]) end
redis.call('INCR', P .. 'keys:epoch')
return 1
