#!lua flags=no-writes
-- standings: the counters of some broadcasts and streams.
--
-- ARGV[3] msgpack: list of ids, a few hundred
-- Returns msgpack: for each the fields below as texts, '' for what is not there; an empty list where there is no such.

local found = {}
for i, bid in ipairs(cmsgpack.unpack(ARGV[3])) do
  local v = redis.call('HMGET', bc_key(bid), 'state', 'kind', 'cls', 'name', 'total', 'removed', 'created', 'started', 'resumed',
                       'windows', 'rate', 'tat', 'parent', 'reason', 'n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7', 'n8', 'n9', 'n10', 'n11')
  if v[1] then
    for k = 1, #v do v[k] = v[k] or '' end
    found[i] = v
  else found[i] = {} end
end
return cmsgpack.pack(found)
