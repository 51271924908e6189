#!lua flags=allow-oom
-- start: put all flows of a broadcast on their lanes at once; the step from loading to sending.
--
-- ARGV[3] broadcast  ARGV[4] comma-separated states it may start from (e.g. 'draft,scheduled')
-- ARGV[5] '' or why it must not send yet (its template is approved no more): it is paused for that reason, in the same step,
-- and `resume` puts its flows on their lanes
-- ARGV[6] '' or what to add to its warnings if it starts (nobody could say whether its template may be used)
-- Returns 'ok', or the state that forbids it ('gone' if there is no such broadcast). Twice: 'running', 'paused'. 'empty': a
-- draft that is filled in parts and has none yet.

local bid = ARGV[3]
local key = bc_key(bid)
local v = redis.call('HMGET', key, 'state', 'cls', 'open', 'total')
local state = v[1]
if not state then return 'gone' end
if not string.find(',' .. ARGV[4] .. ',', ',' .. state .. ',', 1, true) then return state end
if v[3] and tonumber(v[4]) == 0 then return 'empty' end
redis.call('DEL', key .. ':seen')
redis.call('SADD', P .. 'active', bid)
redis.call('ZREM', P .. 'scheduled', bid)
if ARGV[5] ~= '' then
  redis.call('HSET', key, 'state', 'paused', 'reason', ARGV[5])
  broadcast_changed('broadcast.paused', bid, state, 'paused', ARGV[5])
  publish()
  return 'ok'
end
redis.call('HSET', key, 'state', 'running', 'reason', '')
redis.call('HSETNX', key, 'started', now_s)
if ARGV[6] ~= '' then
  local told = cjson.decode(redis.call('HGET', key, 'warnings') or '[]')
  told[#told + 1] = ARGV[6]
  redis.call('HSET', key, 'warnings', cjson.encode(told))
end
broadcast_changed('broadcast.started', bid, state, 'running', '')
for _, lane in ipairs(redis.call('LRANGE', key .. ':lanes', 0, -1)) do activate(bid, lane, v[2]) end
complete_if_done(bid)
publish()
wake()
return 'ok'
