#!lua flags=allow-oom
-- rewind: put everything unsent of some batches of one flow in doubt, since it may have been sent by what was lost.
--
-- ARGV[3] broadcast  ARGV[4] lane  ARGV[5] msgpack: list of batches  ARGV[6] number of the flow's batches, if these are the
--   last of them: its doer has called for all before; else 0
-- Returns how many records are newly in doubt; -1 where nothing is being rewound.
-- With the last the flow gives nothing of them any more (a stream may get further ones meanwhile): settle.lua puts each
-- record back once, when it is shown not to have left. Not before: a doer may come late, to a flow that was begun meanwhile, and be told that all is over before it has seen
-- the rest. A record that wasn't under way counts as the attempt after its last, so that claims of before can't send it.
-- Twice with the same input changes nothing the second time.

local bid, lane = ARGV[3], ARGV[4]
local v = redis.call('HMGET', P .. 'account', 'rewind', 'rewind_at')
if not v[1] then return -1 end
local from_s, at_s = tonumber(v[1]), tonumber(v[2])
local flow = flow_key(bid, lane)
local marked = 0

local function doubted(batch, raw)
  local pieces, changed = {}, 0
  for at = 1, #raw - 31, 32 do
    local state, spent, flags, segments, attempt, code = head_of(raw, at)
    local began_s, changed_s = struct.unpack('>I4I4', raw, at + 24)
    local piece = string.sub(raw, at, at + 31)
    if state <= IN_DOUBT and not (state == IN_DOUBT and code == REWOUND and changed_s >= at_s) then
      if state == QUEUED or state == RETRY then attempt, began_s = attempt + 1, from_s end
      piece = record(IN_DOUBT, spent, flags, segments, attempt, REWOUND, string.sub(raw, at + 8, at + 23), began_s, now_s)
      if state == RETRY then redis.call('ZREM', flow .. ':retry', string.match(batch, '%.(%d+)$') .. ':' .. (at - 1) / 32) end
      if state ~= IN_DOUBT then moved(bid, batch, state, IN_DOUBT) end
      -- told of what was under way only: the rest may be everything, and most of it is put back without a word
      if state == SENDING then message_changed(bid, batch, state, IN_DOUBT, (at - 1) / 32, attempt, REWOUND, NO_SID, flags) end
      changed = changed + 1
    end
    pieces[#pieces + 1] = piece
  end
  if changed > 0 then redis.call('SETRANGE', ledger_key(bid, batch), 0, table.concat(pieces)) end
  marked = marked + changed
end

for _, batch in ipairs(cmsgpack.unpack(ARGV[5])) do
  local raw = redis.call('GET', ledger_key(bid, batch))
  if raw then doubted(batch, raw) end
end
if ARGV[6] ~= '0' then
  local head = tonumber(redis.call('HGET', flow, 'head') or 0)
  redis.call('HSET', flow, 'head', math.max(head, tonumber(ARGV[6])), 'pos', 0)
  redis.call('DEL', flow .. ':back')
end
apply_counters()
return marked
