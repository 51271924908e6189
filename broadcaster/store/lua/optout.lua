#!lua flags=allow-oom
-- optout: add or remove opt-outs, or keep only a hash of whom they are about; and move the epoch that the gate compares,
-- so that every worker learns of it first.
--
-- ARGV[3] 'add' | 'remove' | 'hash'
-- ARGV[4] msgpack: list of ['scope|address', source, since (unix second, 0: now), 'scope|~hash' or '']; for 'hash' of
--   [address, '~hash']. The hash is what a forgotten person is known by: who is there under it is not added again, and
--   is removed with it.
-- Returns [changed, epoch].
-- Each change is one line of the log, EPOCH|+SCOPE|ADDRESS (or -), with the next epoch, so that a reader knows which
-- lines it has missed. A line about somebody who is then forgotten goes, with all before it: who has missed it reads
-- everything.

local verb, changed = ARGV[3], 0
local entries, log, scopes = P .. 'optouts', P .. 'optouts:log', P .. 'optouts:scopes'
local epoch = tonumber(redis.call('GET', P .. 'optouts:epoch') or 0)

local function note(sign, scoped, source)
  changed, epoch = changed + 1, epoch + 1
  redis.call('RPUSH', log, epoch .. '|' .. sign .. scoped)
  if source and asks_for('opt_out.changed') then
    happened[#happened + 1] = {'opt_out.changed', {sign == '+' and 'add' or 'remove', scoped, source}}
  end
end

local function scope_of(scoped) return string.match(scoped, '^(.-)|') end

-- An installation that is older than the list of scopes.
local function gather_scopes()
  if redis.call('EXISTS', scopes) == 1 or redis.call('EXISTS', entries) == 0 then return end
  local cursor = '0'
  repeat
    local found = redis.call('HSCAN', entries, cursor, 'COUNT', 1000)
    cursor = found[1]
    for i = 1, #found[2], 2 do redis.call('SADD', scopes, scope_of(found[2][i])) end
  until cursor == '0'
end

local function add(e)
  if e[4] ~= '' and redis.call('HEXISTS', entries, e[4]) == 1 then return end
  local since = e[3] > 0 and math.min(e[3], now_s) or now_s
  if redis.call('HSETNX', entries, e[1], e[2] .. '|' .. since) == 0 then return end
  redis.call('SADD', scopes, scope_of(e[1]))
  note('+', e[1], e[2])
end

-- A worker may still hold the number in clear of one who was hashed: the line names it.
local function remove(e)
  local clear = redis.call('HDEL', entries, e[1])
  if e[4] ~= '' and redis.call('HDEL', entries, e[4]) == 1 then
    note('-', e[1], e[2])
    note('-', e[4])
    changed = changed - 1
  elseif clear == 1 then note('-', e[1], e[2]) end
end

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
if verb == 'hash' then hash(list)
else
  if verb == 'add' then gather_scopes() end
  for _, e in ipairs(list) do
    if verb == 'add' then add(e) else remove(e) end
  end
end
if changed > 0 then
  redis.call('SET', P .. 'optouts:epoch', string.format('%.0f', epoch))
  redis.call('LTRIM', log, -OPT_OUT_LOG, -1)
  publish()
end
return {changed, string.format('%.0f', epoch)}
