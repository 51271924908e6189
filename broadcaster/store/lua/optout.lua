#!lua flags=allow-oom
-- optout: add or remove opt-outs and move the epoch that the gate compares, so that every worker learns of it first.
--
-- ARGV[3] 'add' | 'remove'  ARGV[4] msgpack: list of ['scope|address', source]; scope is '*' or a sender's name
-- Returns [changed, epoch].

local verb, changed = ARGV[3], 0
local LOG = 10000
local epoch = tonumber(redis.call('GET', P .. 'optouts:epoch') or 0)
for _, e in ipairs(cmsgpack.unpack(ARGV[4])) do
  local did
  if verb == 'add' then did = redis.call('HSETNX', P .. 'optouts', e[1], e[2] .. '|' .. now_s)
  else did = redis.call('HDEL', P .. 'optouts', e[1]) end
  if did == 1 then
    changed = changed + 1
    epoch = epoch + 1
    if asks_for('opt_out.changed') then happened[#happened + 1] = {'opt_out.changed', {verb, e[1], e[2]}} end
    redis.call('RPUSH', P .. 'optouts:log', epoch .. '|' .. (verb == 'add' and '+' or '-') .. e[1])
  end
end
if changed > 0 then
  redis.call('SET', P .. 'optouts:epoch', string.format('%.0f', epoch))
  redis.call('LTRIM', P .. 'optouts:log', -LOG, -1)
  publish()
end
return {changed, string.format('%.0f', epoch)}
