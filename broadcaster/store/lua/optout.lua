#!lua flags=allow-oom
-- optout: add or remove opt-outs, or keep only a hash of whom they are about; and move the epoch that the gate compares,
-- so that every worker learns of it first.
--
-- ARGV[3] 'add' | 'remove' | 'hash'
-- ARGV[4] msgpack: list of ['scope|address', source, since (unix second, 0: now), 'scope|~hash' or '']; for 'hash' of
--   [address, '~hash']. The hash is what a forgotten person is known by: who is there under it is not added again, and
--   is removed with it.
-- Returns [changed, epoch].

--@ opt_out_changes

-- Drop the log up to the last line that ends in an address: the lines of who is to be forgotten.
local function cut_log(addresses)
  local lines = redis.call('LRANGE', log, 0, -1)
  for i = #lines, 1, -1 do
    if addresses[string.match(lines[i], '|([^|]*)$')] then
      redis.call('LTRIM', log, i, -1)
      return
    end
  end
end

local function hash(list)
  gather_scopes()
  local named = {}
  for _, e in ipairs(list) do named[e[1]] = true end
  cut_log(named)
  for _, scope in ipairs(redis.call('SMEMBERS', scopes)) do
    for _, e in ipairs(list) do
      local clear = scope .. '|' .. e[1]
      local kept = redis.call('HGET', entries, clear)
      if kept then
        redis.call('HSETNX', entries, scope .. '|' .. e[2], kept)
        redis.call('HDEL', entries, clear)
        note('+', scope .. '|' .. e[2])
      end
    end
  end
end

local list = cmsgpack.unpack(ARGV[4])
if ARGV[3] == 'hash' then hash(list)
else change(ARGV[3], list) end
keep_changes()
publish()
return {changed, string.format('%.0f', epoch)}
