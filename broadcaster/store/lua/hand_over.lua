#!lua flags=allow-oom
-- hand_over: give the installation to another account, if nothing is left that either of them could send.
--
-- ARGV[3] who is to have it, 'AC… HOST' (domain/owner.py)  ARGV[4] epoch that the installation gets
-- Returns [before, changed, left]: whose it was ('' nobody's), 1 if that changed, and what forbids it, each a text.
-- With the owner the epoch changes: whoever joined before, with the account of then, is refused everything. So the answer
-- to a second try under the old epoch is EPOCH, under the new one [owner, 0, {}].

local before = redis.call('GET', P .. 'owner') or ''
if before == ARGV[3] then return {before, 0, {}} end

local unsent = {{QUEUED, 'queued'}, {SENDING, 'being sent'}, {RETRY, 'in retry'}, {IN_DOUBT, 'in doubt'}}
local count, where = {0, 0, 0, 0}, {}
for _, all in ipairs({'bcs', 'streams'}) do
  for _, bid in ipairs(redis.call('ZRANGE', P .. all, 0, -1)) do
    local n = redis.call('HMGET', bc_key(bid), 'n0', 'n1', 'n2', 'n3')
    local some = false
    for i = 1, 4 do
      local more = tonumber(n[i] or 0) or 0
      count[i] = count[i] + more
      some = some or more > 0
    end
    if some and #where < 3 then where[#where + 1] = bid end
  end
end
local left = {}
for i, kind in ipairs(unsent) do
  if count[i] > 0 then left[#left + 1] = string.format('%d messages %s', count[i], kind[2]) end
end
if #left > 0 then left[#left] = left[#left] .. ' (of ' .. table.concat(where, ', ') .. ')' end
local function also(n, what) if n > 0 then left[#left + 1] = string.format('%d %s', n, what) end end
also(redis.call('SCARD', P .. 'importing'), 'lists being taken')
also(redis.call('ZCARD', P .. 'scheduled'), 'broadcasts scheduled')
also(redis.call('ZCARD', P .. 'handed'), 'broadcasts that Twilio keeps until their hour')
also(redis.call('LLEN', P .. 'failures'), 'failures that something may follow from')
also(redis.call('ZCOUNT', P .. 'workers', now, '+inf'), 'workers running')
if #left > 0 then return {before, 0, left} end

redis.call('SET', P .. 'owner', ARGV[3])
redis.call('SET', P .. 'epoch', ARGV[4])
return {before, 1, {}}
