#!lua flags=allow-oom
-- optout: add or remove opt-outs, or keep only a hash of whom they are about; and move the epoch that the gate compares,
-- so that every worker learns of it first.
--
-- ARGV[3] 'add' | 'remove' | 'hash' | 'refuse'
-- ARGV[4] msgpack: list of ['scope|address', source, since (unix second, 0: now), 'scope|~hash' or '']; for 'hash' of
--   [address, '~hash']; for 'refuse' of [lane, address, source, purpose or '', '~hash' or '']: from the service whose pool the lane is
--   in, else from the lane. The hash is what a forgotten person is known by: who is there under it is not added again, and
--   is removed with it.
-- Returns [changed, epoch].
-- A line of the log about somebody who is then forgotten goes, with all before it: who has missed it reads everything.

local verb, changed = ARGV[3], 0
local entries, log, scopes = P .. 'optouts', P .. 'optouts:log', P .. 'optouts:scopes'

-- An installation that is older than the list of scopes.
local function gather_scopes()
  if redis.call('EXISTS', scopes) == 1 or redis.call('EXISTS', entries) == 0 then return end
  local cursor = '0'
  repeat
    local found = redis.call('HSCAN', entries, cursor, 'COUNT', 1000)
    cursor = found[1]
    for i = 1, #found[2], 2 do redis.call('SADD', scopes, string.match(found[2][i], '^(.-)|')) end
  until cursor == '0'
end

-- Drop the log up to the last line that ends in one of these addresses.
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
  local named = {}
  for _, e in ipairs(list) do named[e[1]] = true end
  cut_log(named)
  for _, scope in ipairs(redis.call('SMEMBERS', scopes)) do
    for _, e in ipairs(list) do
      local clear, hashed = scope .. '|' .. e[1], scope .. '|' .. e[2]
      local kept = redis.call('HGET', entries, clear)
      if kept then
        redis.call('HSETNX', entries, hashed, kept)
        redis.call('HDEL', entries, clear)
        note_opt_out('+', hashed)
        changed = changed + 1
      end
    end
  end
end

local list = cmsgpack.unpack(ARGV[4])
gather_scopes()
if verb == 'hash' then hash(list)
elseif verb == 'refuse' then
  for _, e in ipairs(list) do
    local scope = redis.call('HGET', P .. 'pools', e[1]) or e[1]
    if e[4] ~= '' then scope = scope .. '#' .. e[4] end
    changed = changed + add_opt_out(scope .. '|' .. e[2], e[5] ~= '' and scope .. '|' .. e[5] or '', e[3], now_s)
  end
else
  for _, e in ipairs(list) do
    local since_s = e[3] > 0 and math.min(e[3], now_s) or now_s
    changed = changed + (verb == 'add' and add_opt_out(e[1], e[4], e[2], since_s) or verb == 'remove' and remove_opt_out(e[1], e[4]) or 0)
  end
end
keep_opt_outs()
publish()
return {changed, redis.call('GET', P .. 'optouts:epoch') or '0'}
