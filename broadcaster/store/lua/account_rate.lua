#!lua flags=allow-oom
-- account_rate: bound the pace of all senders together.
--
-- ARGV[3] segments a second, or '' for no bound
-- Returns 1.

local key = P .. 'account'
if ARGV[3] == '' then redis.call('HDEL', key, 'rate', 'tat')
else redis.call('HSET', key, 'rate', ARGV[3]) end
wake()
return 1
