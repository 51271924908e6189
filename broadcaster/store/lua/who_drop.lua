#!lua flags=allow-oom
-- who_drop: take one entry out of the person index, every time that it stands there (store/who.py).
--
-- ARGV[3] bucket (three hex digits)  ARGV[4] the entry (ten bytes)
-- Returns how many went. Its caller has made sure that nobody else in that batch has the same. Twice: 0.

local key, entry = P .. 'who:' .. ARGV[3], ARGV[4]
local bucket = redis.call('GET', key)
local pieces, copied, from, went = {}, 1, 1, 0
while bucket do
  local at = string.find(bucket, entry, from, true)
  if not at then break end
  if (at - 1) % 10 == 0 then
    pieces[#pieces + 1] = string.sub(bucket, copied, at - 1)
    copied, from, went = at + 10, at + 10, went + 1
  else from = at + 1 end
end
if went > 0 then
  pieces[#pieces + 1] = string.sub(bucket, copied)
  local left = table.concat(pieces)
  if left == '' then redis.call('DEL', key) else redis.call('SET', key, left) end
end
return went
