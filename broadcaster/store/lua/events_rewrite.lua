#!lua flags=allow-oom
-- events_rewrite: write the stream of events anew, some entries replaced or the oldest left out: what XDEL or an exact XTRIM
-- takes out of a stream stays in its memory, and in dumps, until the whole node is gone.
--
-- ARGV[3] msgpack: list of [id, new value] to replace  ARGV[4] id before which entries go, '' for none
-- Returns how many entries were replaced or went. Places of endpoints, and how many entries there ever were, stay. Twice: 0.

local key, changed = P .. 'events', 0
if redis.call('EXISTS', key) == 0 then return 0 end
local new = {}
for _, e in ipairs(cmsgpack.unpack(ARGV[3])) do new[e[1]] = e[2] end
local all = redis.call('XRANGE', key, '-', '+')
local first = ARGV[4] == '' and 0 or #redis.call('XRANGE', key, '-', '(' .. ARGV[4])
local info, last, added = redis.call('XINFO', 'STREAM', key), '0-0', 0
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] elseif info[i] == 'entries-added' then added = info[i + 1] end
end
for i, entry in ipairs(all) do
  if i <= first or (new[entry[1]] and new[entry[1]] ~= entry[2][2]) then changed = changed + 1 end
end
if changed == 0 then return 0 end
redis.call('UNLINK', key)
for i = first + 1, #all do redis.call('XADD', key, all[i][1], 'e', new[all[i][1]] or all[i][2][2]) end
if first == #all then
  redis.call('XADD', key, last, 'e', '')
  redis.call('XTRIM', key, 'MAXLEN', 0)
end
redis.call('XSETID', key, last, 'ENTRIESADDED', added)
return changed
