#!lua flags=allow-oom
-- rewound: everything that may have been sent is in doubt; let the rest go on.
--
-- ARGV[3] second at which the rewinding began, as its doer knows it  ARGV[4] how long (s) to wait for living workers
-- Returns 'ok'; 'waits' while a living worker has not said that nothing of before is in flight any more; 'again' if
--   another rewinding has begun since; 'none' if there is none.

local v = redis.call('HMGET', P .. 'account', 'rewind', 'rewind_at')
if not v[1] then return 'none' end
if tonumber(v[2]) ~= tonumber(ARGV[3]) then return 'again' end
if now_s - tonumber(v[2]) < tonumber(ARGV[4]) then
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', now, '+inf')) do
    if redis.call('HGET', P .. 'rewound', 'owner:' .. worker) == '' then return 'waits' end
  end
end
redis.call('HDEL', P .. 'account', 'rewind', 'rewind_at')
for _, field in ipairs(redis.call('HKEYS', P .. 'rewound')) do
  local owner = string.match(field, '^owner:(.+)$')
  if owner and owner ~= '*' and redis.call('HGET', P .. 'rewound', field) == '' then redis.call('SADD', P .. 'owners', owner) end
end
wake()
return 'ok'
