#!lua flags=allow-oom
-- guard: has this Redis lost writes? Run before a server is given our scripts, and by every worker every second.
--
-- ARGV[3] '1' where the caller read that every write is on disk before its answer (AOF, appendfsync always), '0' where
--   not, '' where it didn't look  ARGV[4] replicas that confirm intents (0: none do)
-- ARGV[5] count that the caller knows from its last look, or 0
-- ARGV[6] worker or ''  ARGV[7] second of the rewinding from before which this worker has nothing in flight, or 0
-- ARGV[8] unix second to rewind to because a person says so (a restored backup), or ''  ARGV[9] 1: all workers of
--   before are surely gone
-- Returns msgpack [run id, count, lost, rewinding since, at, asked]: lost 1 if this very look found writes missing; at 0
--   while nothing is being rewound, else from when on what was sent isn't known; asked 1 while the worker has not said
--   that it has nothing in flight from before.
--
-- A server that comes back under another run id has kept all if it had every write on disk and no replica could take its
-- place unasked, or if it is a replica where every replica confirmed every intent (of several Sentinel may choose one
-- that didn't, by its priority). A lower count than a caller knows says that its data is older. While something is
-- rewound (`account`'s field) claim.lua and intent.lua let nothing leave.

local S, R, account = P .. 'server', P .. 'rewound', P .. 'account'
local always, replicas, known = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local worker, cleared = ARGV[6], tonumber(ARGV[7])
local sections = {}
local function told(section, name)
  sections[section] = sections[section] or redis.call('INFO', section)
  return string.match(sections[section], name .. ':([^\r\n]+)')
end

local run = told('server', 'run_id')
local v = redis.call('HMGET', S, 'run', 'always', 'alone', 'confirmed', 'replid', 'count', 'beat', 'since',
                     'most')
local count = tonumber(v[6] or 0)
local changed = v[1] ~= run
local followers = tonumber(told('replication', 'connected_slaves'))
local most = math.max(followers, changed and 0 or tonumber(v[9] or 0))

local function promoted()
  return told('replication', 'master_replid2') == v[5] and told('persistence', 'aof_enabled') == '1'
end
-- The replica that took over may lack a count: only what lasts was confirmed.
local took_over = v[1] and changed and v[4] == '1' and promoted()
local function kept()
  if took_over then return true end
  if known > count then return false end
  return not v[1] or not changed or (v[2] == '1' and (v[3] == '1' or v[4] == '1'))
end

local lost = ARGV[8] ~= '' or not kept()
if lost then
  -- nothing was sent between a worker's last look and the last write that is left
  local from = math.min(tonumber(v[7] or v[8] or now_s), tonumber(ARGV[8] ~= '' and ARGV[8] or now_s))
  local under_way = redis.call('HMGET', account, 'rewind')
  if under_way[1] then from = math.min(from, tonumber(under_way[1])) end
  redis.call('HSET', account, 'rewind', from, 'rewind_at', now_s)
  redis.call('DEL', R)
  redis.call('HSET', R, 'at', now_s)
  local owners = redis.call('SMEMBERS', P .. 'owners')
  for _, owner in ipairs(redis.call('ZRANGE', P .. 'workers', 0, -1)) do owners[#owners + 1] = owner end
  if ARGV[8] ~= '' then owners = ARGV[9] == '1' and {} or {'*'} end
  for _, owner in ipairs(owners) do redis.call('HSET', R, 'owner:' .. owner, '') end
end
redis.call('HSET', S, 'run', run, 'replid', told('replication', 'master_replid'), 'most', most,
           'confirmed', replicas > 0 and replicas >= most and '1' or '0', 'alone', followers == 0 and '1' or '0')
if always ~= '' then redis.call('HSET', S, 'always', always) end
-- A caller that knows a higher count must not find it again before the lost ones are seen to be so; nor may the others,
-- whose looks are missing as well and who may know a higher one still, find what has been found.
local next = math.max(count, known) + ((lost or took_over) and 1000000 or 1)
redis.call('HSET', S, 'count', string.format('%.0f', next))
redis.call('HSETNX', S, 'since', now_s)
if worker ~= '' then redis.call('HSET', S, 'beat', now_s) end

local at, asked = tonumber(redis.call('HGET', R, 'at') or 0), 0
if worker ~= '' and at > 0 and redis.call('HGET', R, 'owner:' .. worker) == '' then
  if cleared == at then redis.call('HSET', R, 'owner:' .. worker, now_s) else asked = 1 end
end
local rewinding = redis.call('HMGET', account, 'rewind', 'rewind_at')
return cmsgpack.pack({run, next, lost and 1 or 0, tonumber(rewinding[1] or 0), at, asked})
