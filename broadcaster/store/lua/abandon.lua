#!lua flags=allow-oom
-- abandon: an import that ended before its list was whole. Its data is removed by the caller.
--
-- ARGV[3] broadcast  ARGV[4] reason a person can read  ARGV[5] 1 even while the importer holds its lease (it says so itself)
-- Returns 'ok', or why not: 'alive', or the state it is in ('failed' when asked twice). It stays a member of
-- `importing` until its data is removed, so that a death in between leaves nothing behind.

local bid = ARGV[3]
local key = bc_key(bid)
local state = redis.call('HGET', key, 'state')
if state ~= 'importing' then return state or 'gone' end
if ARGV[5] ~= '1' and redis.call('EXISTS', key .. ':importer') == 1 then return 'alive' end
redis.call('HSET', key, 'state', 'failed', 'reason', ARGV[4], 'finished', now_s, 'total', 0)
redis.call('DEL', key .. ':importer')
local idem = redis.call('HGET', key, 'idem')
if idem and idem ~= '' and redis.call('GET', P .. 'idem:' .. idem) == bid then redis.call('DEL', P .. 'idem:' .. idem) end
return 'ok'
