#!lua
-- reserve: begin an import, once per idempotency key.
--
-- ARGV[3] new broadcast's id  ARGV[4] idempotency key or ''  ARGV[5] lease of the importing process (ms)
-- ARGV[6] name of the importing process  ARGV[7] spec (msgpack)  ARGV[8] class u|n|b  ARGV[9] name
-- Returns [verdict, broadcast, fingerprint]: 'new'; 'importing' (a living process is at it); 'abandoned' (its process
--   died: clear it, then ask again); 'known' (compare the fingerprint).
--   Asked again with the same id: 'new', and nothing changes.

local bid, idem = ARGV[3], ARGV[4]
if redis.call('EXISTS', bc_key(bid)) == 1 then return {'new', bid, ''} end
if idem ~= '' then
  local known = redis.call('GET', P .. 'idem:' .. idem)
  if known and known ~= bid then
    local v = redis.call('HMGET', bc_key(known), 'state', 'print')
    if v[1] == 'importing' then
      if redis.call('EXISTS', bc_key(known) .. ':importer') == 1 then return {'importing', known, ''} end
      return {'abandoned', known, ''}
    end
    if v[1] and v[1] ~= 'failed' then return {'known', known, v[2] or ''} end
  end
  redis.call('SET', P .. 'idem:' .. idem, bid)
end
redis.call('HSET', bc_key(bid), 'state', 'importing', 'reason', '', 'created', now_s, 'spec', ARGV[7], 'cls', ARGV[8],
           'name', ARGV[9], 'idem', idem, 'total', 0, 'serial', new_serial(bid))
redis.call('SET', bc_key(bid) .. ':importer', ARGV[6], 'PX', ARGV[5])
redis.call('ZADD', P .. 'bcs', now, bid)
redis.call('SADD', P .. 'importing', bid)
return {'new', bid, ''}
