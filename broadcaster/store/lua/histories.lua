#!lua flags=allow-oom
-- histories: read what is kept of the attempts of whole batches; most messages have nothing.
--
-- ARGV[3] broadcast  ARGV[4] msgpack: list of batches
-- Returns msgpack: list of [batch, index, lines], of those that have any. Changes nothing.

local bid, found = ARGV[3], {}
for _, batch in ipairs(cmsgpack.unpack(ARGV[4])) do
  local rows = redis.call('STRLEN', ledger_key(bid, batch)) / 32
  local base = P .. 'hist:' .. bid .. ':' .. batch .. ':'
  for first = 0, rows - 1, 200 do
    local some = {}
    for index = first, math.min(first + 199, rows - 1) do some[#some + 1] = base .. index end
    if redis.call('EXISTS', unpack(some)) > 0 then
      for i, name in ipairs(some) do
        local lines = redis.call('LRANGE', name, 0, -1)
        if #lines > 0 then found[#found + 1] = {batch, first + i - 1, lines} end
      end
    end
  end
end
return cmsgpack.pack(found)
