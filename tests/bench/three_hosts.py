"""Three workers on three hosts, one of them cut off for a minute in the middle of a campaign.

    python tests/bench/three_hosts.py [--only NAME] [--rate 200] [--short]

Each host is a network namespace with process ids of its own, so that nobody sees the others' processes;
Redis, the simulator and the desk are three more. Redis has a password, in one variant TLS with a CA of its
own. The host is cut off from Redis, from Twilio or from both; by its interface going down, or by its packets
vanishing. Exits 1 if anybody was lost or sent to twice, is still in doubt at the end, or a sender's second
was too full. Needs root, ip, nsenter and unshare; all is in namespaces called bcnet…, which go at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import traceback
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from cut_off import DESK, REDIS, TWILIO, WORKERS, Course, Cut, campaign, prepare
from machines import DOWN, QUEUE, SILENT, WORLD, Network, can_make_machines, run_inside

#: A host that nobody hears of counts as gone after half a minute, not after a quarter of an hour.
SOON = {"BROADCASTER_OWNER_GONE_SECONDS": "30"}
VARIANTS = {
    "redis down": Cut((QUEUE,), DOWN),
    "redis silent, tls": Cut((QUEUE,), SILENT, tls=True),
    "twilio down": Cut((WORLD,), DOWN),
    "twilio silent": Cut((WORLD,), SILENT),
    "both down": Cut((QUEUE, WORLD), DOWN),
    "both silent": Cut((QUEUE, WORLD), SILENT),
    "both silent, gone after 30 s": Cut((QUEUE, WORLD), SILENT, settings=SOON),
}
#: For a test: a short cut, and doubt that is settled in seconds.
SHORT = {
    "BROADCASTER_SETTLE_SECONDS": "2",
    "BROADCASTER_SETTLE_ALONE_SECONDS": "3",
    "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
    "BROADCASTER_LEASE_SECONDS": "3",
}


def of(options: argparse.Namespace, name: str) -> Cut:
    """Return a variant as it was asked for."""
    cut = replace(VARIANTS[name], rate=options.rate)
    if not options.short:
        return cut
    settings = cut.settings | SHORT
    return replace(cut, rate=100, campaign_seconds=25, after_seconds=5, for_seconds=12, settings=settings)


def told(cut: Cut, course: Course) -> str:
    """Return a variant's line."""
    assert course.truth is not None
    peaks = ", ".join(f"{peak} at {rate:g}/s ({at:+.0f} s)" for rate, _, peak, at in course.pace.values())
    evidence = ", ".join(f"{n} by {kind or 'nothing'}" for kind, n in sorted(course.evidence.items()))
    return (
        f"  {course.truth.accepted} of {cut.total} accepted, twice {len(course.truth.twice)}, "
        f"lost {len(course.truth.lost)}\n"
        f"  at full rate again {course.whole_after(cut.rate):.0f} s after the cut; the slowest ten seconds "
        f"while it was cut off: {course.slowest(cut.rate):.0%} of the rate\n"
        f"  in doubt: {course.most_in_doubt} at most, {course.left_at_join} when joined again, none "
        f"{course.settled_after_join:.0f} s after that; {evidence}\n"
        f"  fullest seconds: {peaks}; this machine stood still {course.stood[0]} times, "
        f"{course.stood[1]:.1f} s at most\n  the host said itself that it was done: "
        f"{'yes' if course.reported_itself else 'no'}; "
        + ", ".join(f"{name} {n}" for name, n in sorted(course.log.items()) if n)
    )


def inside(options: argparse.Namespace) -> int:
    """Run one variant, at the desk."""
    network = Network(options.inside, {h: n for n, h in enumerate((REDIS, TWILIO, DESK, *WORKERS), 1)})
    cut = of(options, options.only)
    folder = Path(tempfile.mkdtemp(prefix="three-hosts-"))
    try:
        course = asyncio.run(campaign(network, folder, cut))
    except AssertionError:
        traceback.print_exc()
        print(f"  FAILED; see {folder}", flush=True)
        return 1
    print(told(cut, course), flush=True)
    if options.json:
        (folder / "course.json").write_text(json.dumps(course.points), encoding="utf-8")
    if found := course.breaches(cut):
        print("  BROKEN: " + "; ".join(found[:10]) + f"; see {folder}", flush=True)
        return 1
    return 0


def main() -> int:
    """Make the network, run the variants in it; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=VARIANTS)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--json", action="store_true", help="keep the course of each second")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return inside(options)
    if why := can_make_machines():
        print(f"no hosts can be made here: {why}", file=sys.stderr)
        return 2
    bad = 0
    for name in [options.only] if options.only else VARIANTS:
        print(f"{name}", flush=True)
        with Network(f"bcnet{os.getpid()}") as network:
            prepare(network)
            arguments = [__file__, "--inside", network.name, "--only", name, "--rate", str(options.rate)]
            arguments += [f"--{flag}" for flag in ("short", "json") if getattr(options, flag)]
            bad += run_inside(network, DESK, arguments) != 0
    print("all kept" if not bad else f"{bad} broken")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
