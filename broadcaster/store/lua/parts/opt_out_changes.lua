-- Changes of opt-outs, for every script that makes them.
-- Each is one line of the log, EPOCH|+SCOPE|ADDRESS (or -), with the next epoch, so that a reader knows which lines it
-- has missed. A line about somebody who is then forgotten goes, with all before it: who has missed it reads everything.
local entries, log, scopes = P .. 'optouts', P .. 'optouts:log', P .. 'optouts:scopes'
local changed, epoch = 0, tonumber(redis.call('GET', P .. 'optouts:epoch') or 0)

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

-- Add or remove some, each ['scope|address', source, since, 'scope|~hash' or ''].
local function change(verb, list)
  if verb == 'add' then gather_scopes() end
  for _, e in ipairs(list) do
    if verb == 'add' then add(e) else remove(e) end
  end
end

-- To be called once, after the last change: workers compare the epoch.
local function keep_changes()
  if changed == 0 then return end
  redis.call('SET', P .. 'optouts:epoch', string.format('%.0f', epoch))
  redis.call('LTRIM', log, -OPT_OUT_LOG, -1)
end
