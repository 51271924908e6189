"""The description's links: which answer leads to which operation."""

from __future__ import annotations

from typing import Any, Final

#: From an answer to what it leads to: (operation, its status) → name: (operation, {parameter: expression}).
LINKS: Final[dict[tuple[str, str], dict[str, tuple[str, dict[str, str]]]]] = {
    ("create_broadcast", "202"): {
        "read": ("get_broadcast", {"id": "$response.body#/id"}),
        "messages": ("list_broadcast_messages", {"id": "$response.body#/id"}),
        "start": ("start_broadcast", {"id": "$response.body#/id"}),
        "pause": ("pause_broadcast", {"id": "$response.body#/id"}),
        "cancel": ("cancel_broadcast", {"id": "$response.body#/id"}),
        "delete": ("delete_broadcast", {"id": "$response.body#/id"}),
    },
    ("start_broadcast", "200"): {"pause": ("pause_broadcast", {"id": "$response.body#/id"})},
    ("pause_broadcast", "200"): {"resume": ("resume_broadcast", {"id": "$response.body#/id"})},
    ("resume_broadcast", "200"): {"cancel": ("cancel_broadcast", {"id": "$response.body#/id"})},
    ("cancel_broadcast", "200"): {"delete": ("delete_broadcast", {"id": "$response.body#/id"})},
    ("send_messages", "202"): {"read": ("get_message", {"id": "$response.body#/messages/0/id"})},
    ("list_broadcasts", "200"): {"read": ("get_broadcast", {"id": "$response.body#/data/0/id"})},
    ("list_senders", "200"): {"read": ("get_sender", {"name": "$response.body#/data/0/name"})},
    ("pause_sender", "200"): {"resume": ("resume_sender", {"name": "$response.body#/name"})},
    ("list_opt_outs", "200"): {"remove": ("remove_opt_out", {"address": "$response.body#/data/0/address"})},
    ("list_replies", "200"): {
        "read": ("get_reply", {"id": "$response.body#/data/0/id"}),
        "opt_out": ("opt_out_by_reply", {"id": "$response.body#/data/0/id"}),
        "done": ("finish_reply", {"id": "$response.body#/data/0/id"}),
    },
    ("list_templates", "200"): {"read": ("get_template", {"sid": "$response.body#/data/0/sid"})},
    ("create_event_endpoint", "201"): {
        "read": ("get_event_endpoint", {"id": "$response.body#/id"}),
        "deliveries": ("list_event_deliveries", {"id": "$response.body#/id"}),
        "rotate": ("rotate_event_endpoint_secret", {"id": "$response.body#/id"}),
        "delete": ("delete_event_endpoint", {"id": "$response.body#/id"}),
    },
    ("list_event_endpoints", "200"): {"read": ("get_event_endpoint", {"id": "$response.body#/data/0/id"})},
}


def link(operations: dict[str, dict[str, Any]]) -> None:
    """Put the links into the answers of `operations`, by their ids."""
    for (source, status), links in LINKS.items():
        for name, (target, parameters) in links.items():
            answer = operations[source]["responses"][status]
            answer.setdefault("links", {})[name] = {"operationId": target, "parameters": parameters}
