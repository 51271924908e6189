#!lua flags=allow-oom
-- stop_rule: when a campaign that goes wrong stops itself; record.lua keeps the rule.
--
-- ARGV[3] share of permanent failures that is too much  ARGV[4] outcomes before anything is judged
-- ARGV[5] how many of the last outcomes count
-- Returns 1.

redis.call('HSET', P .. 'account', 'stop', ARGV[3] .. ':' .. ARGV[4] .. ':' .. ARGV[5])
return 1
