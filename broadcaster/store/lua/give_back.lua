-- give_back: stands behind the prelude of leave.lua, release.lua and sweep.lua: how a claim ends.

-- End one claim [broadcast, lane, batch, 'index:attempt,…']: unsent records return to their flow, in ranges where they
-- lie together. Records that are `sending` by this very claim become in doubt if `lost` names the reason for it;
-- else they are returned, as they stood in the claim.
-- `doubted` counts those of the script that this stands in.
local doubted = 0
local function give_back(claim, lost)
  local bid, lane, batch = claim[1], claim[2], claim[3]
  local led, flow = ledger_key(bid, batch), flow_key(bid, lane)
  local batch_no = string.match(batch, '%.(%d+)$')
  -- a claim's end is mostly that all of it has left: one read then, where the records lie together
  local b, span, lowest, highest, entries = nil, nil, math.huge, -1, {}
  local function about() b = b or redis.call('HMGET', bc_key(bid), 'state', 'cls') return b end
  for i, a in string.gmatch(claim[4], '(%d+):(%d+)') do
    local index = tonumber(i)
    entries[#entries + 1] = {i, a, index}
    lowest, highest = math.min(lowest, index), math.max(highest, index)
  end
  if #entries > 0 and highest - lowest < 2 * #entries then span = redis.call('GETRANGE', led, lowest * 32, highest * 32 + 31) end
  local from, to, returned, sending = nil, nil, false, {}
  local function close()
    if from then redis.call('LPUSH', flow .. ':back', batch_no .. ':' .. from .. ':' .. to) end
    from = nil
  end
  for _, entry in ipairs(entries) do
    local i, a, index = entry[1], entry[2], entry[3]
    local expected, at = tonumber(a), span and (index - lowest) * 32 + 1 or 1
    local raw = span or redis.call('GETRANGE', led, index * 32, index * 32 + 31)
    if #raw >= at + 31 then
      local state, spent, flags, segments, attempt, code = head_of(raw, at)
      if state == QUEUED and attempt == expected then
        if from and index == to then to = index + 1 else close(); from, to = index, index + 1 end
        returned = true
      elseif state == RETRY and attempt == expected then
        retry_at(bid, lane, batch_no, index, now, about()[1] == 'running')
        returned = true
      elseif state == SENDING and attempt == expected + 1 and not lost then sending[#sending + 1] = i .. ':' .. a
      elseif state == SENDING and attempt == expected + 1 then
        local began_s = struct.unpack('>I4', raw, at + 24)
        redis.call('SETRANGE', led, index * 32, record(IN_DOUBT, spent, flags, segments, attempt, lost[1], NO_SID, began_s, now_s))
        moved(bid, batch, SENDING, IN_DOUBT)
        doubted = doubted + 1
        message_changed(bid, batch, SENDING, IN_DOUBT, index, attempt, lost[1], NO_SID, flags)
        remember(bid, batch, index, {attempt, IN_DOUBT, lost[1], began_s, now_s, '', lost[2], 'lease'})
        redis.call('SADD', P .. 'owners', lost[2])
      end
    end
  end
  close()
  if returned and about()[1] == 'running' then activate(bid, lane, b[2]) end
  return sending
end
