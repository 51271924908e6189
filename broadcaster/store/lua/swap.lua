#!lua flags=allow-oom
-- swap: put one value in the place of another, if that is still there: a member of a list, a field of a hash, a string.
--
-- ARGV[3] key, without the prefix  ARGV[4] index in the list, or field of the hash, '' for a string
-- ARGV[5] SHA-1 (hex) of what its caller has seen there  ARGV[6] what takes its place; '' removes the field or the string
-- Returns 1 if it was done, 0 if something else stands there by now (as the second time).

local key, place = P .. ARGV[3], ARGV[4]
local kind = redis.call('TYPE', key).ok
local seen
if kind == 'list' then seen = redis.call('LINDEX', key, place)
elseif kind == 'hash' then seen = redis.call('HGET', key, place)
elseif kind == 'string' then seen = redis.call('GET', key) end
if not seen or redis.sha1hex(seen) ~= ARGV[5] then return 0 end
if kind == 'list' then redis.call('LSET', key, place, ARGV[6])
elseif kind == 'hash' and ARGV[6] == '' then redis.call('HDEL', key, place)
elseif kind == 'hash' then redis.call('HSET', key, place, ARGV[6])
elseif ARGV[6] == '' then redis.call('UNLINK', key)
else redis.call('SET', key, ARGV[6], 'KEEPTTL') end
return 1
