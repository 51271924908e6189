#!lua flags=allow-oom
-- endpoint: write, or remove, one endpoint of events out, and let the scripts know which kinds are asked for from now on.
--
-- ARGV[3] endpoint  ARGV[4] msgpack: map with at least `types` (list) and `disabled` (text, '' while it is served); '' removes it
-- ARGV[5] what the caller found there, '' for nothing  ARGV[6] endpoints there may be
-- Returns 'ok', or why not: 'changed' (somebody else has written it meanwhile), 'full'. Twice: 'ok'.
-- One that is new, or served again, is told of what happens from now on.

local id, new, old, most = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local all, at = P .. 'endpoints', P .. 'endpoint:' .. id
local found = redis.call('HGET', all, id) or ''
if found == new then return 'ok' end
if found ~= old then return 'changed' end
if found == '' and redis.call('HLEN', all) >= most then return 'full' end

local function served(raw) return raw ~= '' and cmsgpack.unpack(raw).disabled == '' end

-- Where the stream ends: the last entry's id, and how many there were ever.
local function stream_end()
  if redis.call('EXISTS', P .. 'events') == 0 then return '0-0', 0 end
  local info, last, added = redis.call('XINFO', 'STREAM', P .. 'events'), '0-0', 0
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1]
    elseif info[i] == 'entries-added' then added = info[i + 1] end
  end
  return last, added
end

if new == '' then
  redis.call('HDEL', all, id)
  redis.call('UNLINK', at, at .. ':queue', at .. ':bodies', at .. ':parked')
else
  redis.call('HSET', all, id, new)
  if not served(found) and served(new) then
    local last, added = stream_end()
    redis.call('HSET', at, 'cursor', last, 'read', added)
    redis.call('HDEL', at, 'failing', 'hold', 'streak')
  end
end

local kinds, asked = {}, {}
for _, raw in ipairs(redis.call('HVALS', all)) do
  local e = cmsgpack.unpack(raw)
  for _, kind in ipairs(e.disabled == '' and e.types or {}) do
    if not asked[kind] then
      asked[kind] = true
      kinds[#kinds + 1] = kind
    end
  end
end
if #kinds > 0 then redis.call('SET', P .. 'events:wanted', ',' .. table.concat(kinds, ',') .. ',')
else redis.call('UNLINK', P .. 'events:wanted', P .. 'events') end
return 'ok'
