#!lua flags=allow-oom
-- release: end claims. What was never `sending` goes back to its flow at once. A record that left is left alone, but not
-- forgotten: while its outcome is missing it stays under the name `claim~`, to which the gate says no and which is
-- swept like any claim.
--
-- ARGV[3] worker  ARGV[4] msgpack: list of claims
-- ARGV[5] msgpack: map of claim to indexes that the gate refused, though it may have let them go when it was first asked
--   and its answer was lost or unconfirmed. None of them left: where they stand `sending` by this claim they are due again,
--   later each time: without a replica that confirms that happens every second, and attempts are counted up to 65535.
-- Returns how many claims were live. Ending a claim twice does nothing the second time.

local claims = P .. 'worker:' .. ARGV[3] .. ':claims'
local unsent = cmsgpack.unpack(ARGV[5])
local NOT_SENT, CANCELED, LATER_MOST_S = 7, 3, 60
local ended = 0

local function turn_back(held, index)
  local bid, lane, batch = held[1], held[2], held[3]
  local led = ledger_key(bid, batch)
  local raw = redis.call('GETRANGE', led, index * 32, index * 32 + 31)
  local _, spent, flags, segments, attempt = head_of(raw, 1)
  local broadcast = redis.call('HGET', bc_key(bid), 'state')
  local new, code = RETRY, NOT_SENT
  if broadcast == 'canceled' then new, code = SKIPPED, CANCELED end
  redis.call('SETRANGE', led, index * 32,
             record(new, spent, flags, segments, attempt, code, NO_SID, struct.unpack('>I4', raw, 25), now_s))
  moved(bid, batch, SENDING, new)
  local at = now + math.min(attempt - 1, LATER_MOST_S) * 1000000
  if new == RETRY then retry_at(bid, lane, string.match(batch, '%.(%d+)$'), index, at, broadcast == 'running')
  else redis.call('HINCRBY', bc_key(bid) .. ':codes', new .. ':' .. code, 1) end
end

for _, claim in ipairs(cmsgpack.unpack(ARGV[4])) do
  local raw = redis.call('HGET', claims, claim)
  if raw then
    ended = ended + 1
    local held = cmsgpack.unpack(raw)
    local never, sending = {}, {}
    for _, index in ipairs(unsent[claim] or {}) do never[index] = true end
    for _, entry in ipairs(give_back(held, nil)) do
      local index = tonumber(string.match(entry, '^%d+'))
      if never[index] then turn_back(held, index) else sending[#sending + 1] = entry end
    end
    redis.call('HDEL', claims, claim)
    if #sending > 0 then
      held[4] = table.concat(sending, ',')
      redis.call('HSET', claims, claim .. '~', cmsgpack.pack(held))
    end
  end
end
apply_counters()
return ended
