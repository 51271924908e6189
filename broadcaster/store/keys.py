"""Every key name, with its lifetime. Lua builds the same names in `lua/prelude.lua`.

========================  =========  ==========================================================
key (after the prefix)    type       lifetime
========================  =========  ==========================================================
epoch, format             string     as long as the installation; a FLUSHALL is seen by its loss
owner                     string     whose it is: an account's SID and where that is asked (domain/owner.py);
                                     from its first worker, API or `send` with one on, as the installation
backup                    string     when the last `broadcaster backup` began (unix second), so that it is in
                                     that backup; until the next
raised                    hash       which epoch took another one's place when the data format was raised, or
                                     (`restored:NEW`) a backup restored, and up to which format older
                                     programs are kept out; as the installation
bcs                       zset       one member a broadcast, until it is deleted
streams                   zset       one member a stream, until it is removed; what puts every broadcast
                                     right after a loss (rewinding, clock) walks both, lists for people `bcs`
serials                   string     the last serial number given; as long as the installation
bcs:serials               hash       broadcast or stream by serial number; a field goes when it is removed
who:NNN                   string     the person index, ten bytes a recipient (store/who.py); entries go with
                                     their broadcast, the key with its last entry
active, importing         set        broadcasts in that state
skipping                  set        canceled or expired broadcasts with unsent records still to be skipped
scheduled                 zset       broadcasts by the second they start
windowed                  set        broadcasts that may send at certain hours only, until they have ended
polls                     zset       broadcasts and streams that await final states, by the second they are
                                     asked for next; a member leaves when there is nothing to ask for
settling, polling         string     who settles doubt, who polls final states (PX); likewise `following`, who
                                     sees to failed deliveries, and `recalling`
removing                  set        broadcasts whose people's data are being removed, until they are
bc:ID                     hash       state, counts `n0`..`n11`, spec (without content once its people are
                                     `removed`, `retention_days` after its end); until deleted
bc:ID:lanes|codes|dead|doubt|run  —  with their broadcast
bc:ID:fallbacks           set        streams of the SMS in place of its WhatsApp messages (a stream's,
                                     too), which are kept and removed with its people; with them
bc:ID:rejects             list       rows that a list was taken without; with its people
bc:ID:seen                list       addresses of a draft's parts; until it starts
bc:ID:polled              string     how far its final states were asked for (JSON); six days (EX)
bc:ID:unasked             set        messages that Twilio doesn't have any more, their SIDs; as long (EX)
bc:ID:chunks              hash       answers to a draft's parts; with its people
unanswered:ID             string     since when Twilio says nothing of the templates of a due broadcast; ten
                                     minutes (EX)
bc:ID:importer            string     lease of the importing process (PX)
idem:KEY                  string     until its broadcast is deleted
stream:PRINT              string     the stream that takes single messages of one kind now; two hours (EX)
append:NAME               hash       what an append answered: a process's 10 minutes (EX), a request's
                                     until its answer is kept, at most a day
once:KEY:NONCE            hash|string  a request with an Idempotency-Key that is carried out; a string is its
                                     answer, packed (ledger/kept_answers.py); a day (EXPIRE)
verify:NONCE              hash       a verification's start under an idempotency key, and Twilio's answer
                                     without whom it is about; a day (EXPIRE)
bat:ID:B  led:ID:B        string     packed recipients and records of batch `lane.number`; until its
                                     people are removed (a stream's: a day after its last change)
hist:ID:B:I               list       only messages with a second try or doubt; capped; with them
flow:ID:LANE[:back|:retry] hash|list|zset  with them
lanes                     set        every lane there ever was
lane:NAME[:u|:n|:b|:later] hash|zset  rate, pace, pause; its flows by class
due                       zset       lanes with work, by the microsecond of their next permit
account                   hash       pause, rate, concurrency of all; what workers saw of Twilio; who is on
                                     duty; how many duplicates were found; as long as the installation
server                    hash       which Redis this is and how it keeps writes; as long as the installation
rewound                   hash       the last rewinding and who may have sent before it; until the next
confirm                   string     written before a WAIT, under Sentinel
workers, overdue          zset|hash  leases; members leave with their worker
lost                      zset       workers whose lease ran out, by the microsecond of that; a day each
exporter                  string     which exporter reads for the installation (PX)
clock                     hash       Redis' clock when last looked at; as long as the installation
worker:ID                 hash       what it is, its version and data format, since when it is `draining`; a
                                     day after the worker is gone (EXPIRE)
worker:ID:claims          hash       the worker's open claims
wake                      list       capped at 32 tokens
optouts                   hash       source and time by `SCOPE|ADDRESS`, or `SCOPE|~HASH` of a forgotten
                                     person; as long as the installation, like the next three
optouts:epoch|scopes|log  string|set|list  what workers compare, scopes there ever were, changes (capped)
handed                    zset       broadcasts and streams that Twilio keeps back, by the second it sends
                                     them; until five minutes after it
handed:cursor             string     the epoch of opt-outs up to which those were recalled; as they
pools                     hash       the Messaging Service of each sender that is in the pool of one
people:key                string     what forgotten people's hashes are made with, where no key is set
people:mark               string     tells the key that people were forgotten with from others; as they
reply:SID                 hash       one reply; until it is removed (with its broadcast, by age, `forget`)
replies[:flagged]         zset       replies by the millisecond they came; `flagged`: those for a person
replies:of:DIGEST         zset       one person's, by a digest of the address; with their last
inbound:SENDER            zset       when people (digests) last wrote to a sender, were refused by it (`!`),
                                     and Twilio's list of that was read (`@`); a day (EXPIRE)
answered:SENDER           zset       when people (digests) were last answered by it; a day (EXPIRE)
endpoints                 hash       endpoints of events out, until they are deleted
events:wanted             string     the kinds of events that they ask for; with them
events                    stream     what happened, capped; trimmed to what some endpoint was not given yet
endpoint:ID               hash       how far an endpoint is in `events`, and how it does; with the endpoint
endpoint:ID:queue|parked  zset       its deliveries by the microsecond they are due, or were parked; with it
endpoint:ID:bodies        hash       their bodies; with them
endpoint:ID:holder        string     lease of the worker that delivers to it (PX)
keys, keys:epoch, keys:used, keys:tat  API keys, their last use and pace; as long as the installation
failures                  list       failed deliveries that something follows from, until a worker saw to it
parked                    zset       callbacks of messages not found yet, by when they are looked for again;
                                     ten minutes each, capped at 100,000
signing                   string     signs cursors and references if no key is set; as the installation
audit                     stream     who changed what; entries leave after BROADCASTER_AUDIT_DAYS
========================  =========  ==========================================================
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under one prefix (`BROADCASTER_KEY_PREFIX`)."""

    prefix: str

    def plain(self, name: str) -> str:
        """Return a key that belongs to the installation: `due`, `workers`, `optouts:epoch`."""
        return self.prefix + name

    def broadcast(self, broadcast: str, part: str = "") -> str:
        """Return a broadcast's hash, or a part of it (`:lanes`, `:codes`, `:dead`, `:doubt`, `:importer`)."""
        return f"{self.prefix}bc:{broadcast}{part}"

    def batch(self, broadcast: str, batch: str) -> str:
        """Return where the packed recipients of one batch are."""
        return f"{self.prefix}bat:{broadcast}:{batch}"

    def ledger(self, broadcast: str, batch: str) -> str:
        """Return where the records of one batch are."""
        return f"{self.prefix}led:{broadcast}:{batch}"

    def who(self, bucket: str) -> str:
        """Return one bucket of the person index."""
        return f"{self.prefix}who:{bucket}"

    def history(self, broadcast: str, batch: str, index: int) -> str:
        """Return the attempts of one message, kept only where there was more to say than the record holds."""
        return f"{self.prefix}hist:{broadcast}:{batch}:{index}"

    def flow(self, broadcast: str, lane: str, part: str = "") -> str:
        """Return a flow's hash, or its `:back` list or `:retry` zset."""
        return f"{self.prefix}flow:{broadcast}:{lane}{part}"

    def lane(self, lane: str, part: str = "") -> str:
        """Return a lane's hash, or its flows of one class (`:u`, `:n`, `:b`) or its `:later` zset."""
        return f"{self.prefix}lane:{lane}{part}"

    def worker(self, worker: str, part: str = "") -> str:
        """Return a worker's hash, or its `:claims`."""
        return f"{self.prefix}worker:{worker}{part}"

    def endpoint(self, endpoint: str, part: str = "") -> str:
        """Return an endpoint's hash, or its `:queue`, `:parked`, `:bodies`, `:holder`."""
        return f"{self.prefix}endpoint:{endpoint}{part}"

    def reply(self, sid: str) -> str:
        """Return where one reply is."""
        return f"{self.prefix}reply:{sid}"
