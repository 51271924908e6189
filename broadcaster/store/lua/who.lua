#!lua flags=allow-oom
-- who: take the entries of removed broadcasts out of one bucket of the person index (store/who.py).
--
-- ARGV[3] bucket (three hex digits)  ARGV[4] bytes that its caller has seen of it  ARGV[5] their SHA-1 (hex)
-- ARGV[6] what is left of them  ARGV[7] msgpack: list of the serial numbers taken out
-- Returns how many entries went. What was appended since stays. 0 if the bucket is not what was seen (somebody else
--   has cut it, as the same call has the second time), or one of the broadcasts is there.

local key, length = P .. 'who:' .. ARGV[3], tonumber(ARGV[4])
for _, serial in ipairs(cmsgpack.unpack(ARGV[7])) do
  if redis.call('HEXISTS', P .. 'bcs:serials', serial) == 1 then return 0 end
end
local bucket = redis.call('GET', key) or ''
if #bucket < length or redis.sha1hex(string.sub(bucket, 1, length)) ~= ARGV[5] then return 0 end
if #ARGV[6] == length then return 0 end
local left = ARGV[6] .. string.sub(bucket, length + 1)
if left == '' then redis.call('DEL', key) else redis.call('SET', key, left) end
return (length - #ARGV[6]) / 10
