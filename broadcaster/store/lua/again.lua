-- again: stands behind the prelude of resend.lua, replay.lua and resume.lua: what goes again may have gone already.
--
-- Redis has lost writes (guard.lua): a message whose last attempt began before that may have gone again since, and only
-- Twilio's list knows. So its next attempt is in doubt first, as what rewind.lua finds unsent: found there, it was that
-- one; absent, settle.lua puts it back. The attempt may have left as soon as the one before had begun.
local loss = tonumber(redis.call('HGET', P .. 'rewound', 'at') or 0)

-- A dead letter that settle.lua made since then was looked for already: who lets it go again knows that it may have gone.
local function may_have_gone(state, code, began_s, changed_s)
  return loss > 0 and began_s <= loss and not (state == DEAD and code == UNKNOWN and changed_s > loss)
end

-- The SID of what failed on its way stays, as in rewind.lua: record.lua knows old news by it.
local function next_in_doubt(spent, flags, segments, attempt, sid, began_s)
  return record(IN_DOUBT, spent, flags, segments, attempt + 1, REWOUND, sid, began_s, now_s)
end
