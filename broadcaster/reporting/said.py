"""What was said to each recipient of a broadcast: rendered again from its content and their variables."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from broadcaster.domain.content import Rendered, RenderError, compile_content
from broadcaster.domain.forgotten import FORGOTTEN
from broadcaster.domain.whatsapp_window import stand_in

if TYPE_CHECKING:
    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.domain.content import Renderer
    from broadcaster.reporting.messages import MessageView

_NOTHING: Final = Rendered(None, None)


class Said:
    """What a broadcast said to each: its texts, rendered again."""

    def __init__(self, spec: BroadcastSpec | None) -> None:
        self._spec = spec
        self._renderer: Renderer | None = None
        if spec is not None and (spec.content.body or spec.content.is_template or spec.content.media_urls):
            self._renderer = compile_content(spec.content)

    def whole(self, view: MessageView) -> dict[str, Any]:
        """Return a message with its variables, texts and consent, in JSON's types.

        Of a broadcast with a fallback template it is that one which is known to have gone.
        """
        spec, said, renderer = self._spec, _NOTHING, self._renderer
        content = spec.content if spec else None
        if renderer is not None and content is not None and content.fallback and view.record.by_template:
            renderer, content = renderer.fallback, stand_in(content, content.fallback)
        if renderer is not None and view.to != FORGOTTEN:
            with contextlib.suppress(RenderError):  # a row whose text can't be made was never sent
                said = renderer.render(view.variables)
        column = spec.consent_column if spec else None
        consent = (
            view.variables.get(column) if column else str(spec.consent) if spec and spec.consent else None
        )
        return view.summary() | {
            "variables": view.variables,
            "body": said.body,
            "content_sid": said.content_sid or (content.content_sid if content else None),
            "content_variables": said.content_variables,
            "media_urls": list(content.media_urls) if content else [],
            "purpose": str(spec.purpose) if spec else None,
            "consent": consent or None,
        }
