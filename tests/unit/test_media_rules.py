"""Each type and limit of media on each channel."""

from __future__ import annotations

import pytest

from broadcaster.domain.addresses import Channel
from broadcaster.domain.media_rules import MOST_BYTES, RULES, media_fault, media_hint

SMS, WHATSAPP = Channel.SMS, Channel.WHATSAPP
KB, MB = 1024, 1024 * 1024
OFFICE = "application/vnd.openxmlformats-officedocument"

#: type, most on MMS and on WhatsApp (0: not taken), whether WhatsApp shows a text with it
TABLE = [
    ("image/jpeg", 5 * MB, 5 * MB, True),
    ("image/jpg", 5 * MB, 5 * MB, True),
    ("image/png", 5 * MB, 5 * MB, True),
    ("image/gif", 5 * MB, 0, True),
    ("image/webp", 0, 5 * MB, False),
    ("image/bmp", 500 * KB, 0, True),
    ("image/tiff", 500 * KB, 0, True),
    ("image/heic", 500 * KB, 0, True),
    ("image/svg+xml", 0, 0, True),
    ("audio/ogg", 500 * KB, 16 * MB, False),
    ("audio/amr", 500 * KB, 16 * MB, False),
    ("audio/3gpp", 500 * KB, 16 * MB, False),
    ("audio/aac", 500 * KB, 16 * MB, False),
    ("audio/mpeg", 500 * KB, 16 * MB, False),
    ("audio/basic", 500 * KB, 0, True),
    ("audio/x-wav", 0, 0, True),
    ("video/mp4", 500 * KB, 16 * MB, True),
    ("video/quicktime", 500 * KB, 0, True),
    ("video/h264", 500 * KB, 0, True),
    ("application/pdf", 500 * KB, 16 * MB, False),
    ("application/msword", 500 * KB, 16 * MB, False),
    ("application/vnd.ms-excel", 500 * KB, 16 * MB, False),
    ("application/vnd.ms-powerpoint", 500 * KB, 16 * MB, False),
    (f"{OFFICE}.wordprocessingml.document", 500 * KB, 16 * MB, False),
    (f"{OFFICE}.spreadsheetml.sheet", 500 * KB, 16 * MB, False),
    (f"{OFFICE}.presentationml.presentation", 500 * KB, 16 * MB, False),
    ("text/vcard", 500 * KB, 16 * MB, False),
    ("text/x-vcard", 500 * KB, 16 * MB, False),
    ("application/vcard", 500 * KB, 16 * MB, False),
    ("text/calendar", 500 * KB, 0, True),
    ("text/csv", 500 * KB, 0, True),
    ("text/plain", 0, 0, True),
    ("text/html", 0, 0, True),
    ("application/zip", 0, 0, True),
    ("application/octet-stream", 0, 0, True),
    ("application/vnd.apple.pkpass", 500 * KB, 0, True),
]


@pytest.mark.parametrize(("kind", "mms", "whatsapp", "shown"), TABLE, ids=[row[0] for row in TABLE])
def test_a_type_is_taken_up_to_its_limit(kind: str, mms: int, whatsapp: int, *, shown: bool) -> None:
    for channel, most in ((SMS, mms), (WHATSAPP, whatsapp)):
        at, above = (media_fault(channel, kind, length) for length in (most, most + 1))
        assert bool(at) == (most == 0), at
        assert above
        if most:
            told = {5 * MB: "5 MB", 16 * MB: "16 MB", 500 * KB: "500 KB"}[most]
            assert (
                f"larger than {told}, which {'MMS' if channel is SMS else 'WhatsApp'} takes of {kind}"
                in above
            )
        else:
            assert f"takes no {kind} (12300)" in at
    assert bool(media_hint(WHATSAPP, kind, with_text=True)) == (bool(whatsapp) and not shown)
    assert not media_hint(WHATSAPP, kind, with_text=False)
    assert not media_hint(SMS, kind, with_text=True)


def test_the_table_above_has_what_matters_of_the_rules() -> None:
    assert set(RULES[WHATSAPP]) <= {row[0] for row in TABLE}
    assert MOST_BYTES == 16 * MB


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ("IMAGE/JPEG", ""),
        ("image/jpeg; charset=binary", ""),
        (' image/png ; name="a b.png"', ""),
        ("audio/ogg; codecs=opus", ""),
        ('audio/ogg; codecs="OPUS"', ""),
        ("audio/ogg; codecs=vorbis", "only with opus, not vorbis"),
        ("", "names no Content-Type"),
        ("  ", "names no Content-Type"),
        ("jpeg", "takes no jpeg"),
        ("image/", "takes no"),
        ("/", "takes no"),
        ("text/" + "x" * 5000, "takes no text/xxx"),
    ],
)
def test_a_content_type_is_read_as_servers_write_it(told: str, fault: str) -> None:
    found = media_fault(WHATSAPP, told, 1)
    assert fault in found
    assert bool(found) == bool(fault)
    assert len(found) < 300
