"""Points of Qdrant, whose ids are whole numbers from 0 on or UUIDs."""

from __future__ import annotations

import uuid
from typing import Any

from gnnrec.stores.store import EXACT, Id, NodeRows

#: Rows of a request, whose size is limited.
BATCH = 1000
#: Links and build width of the HNSW graph; the defaults of Qdrant are 16 and 100.
LINKS, BUILD_WIDTH = 32, 256
#: ``hnsw_ef``; 100 is the default of Qdrant.
WIDTHS = (100, 200, 400, 800, 1600, 3200, EXACT)
#: Names ids that are no point ids in the space of UUIDs.
_SPACE = uuid.UUID("6b0f4d52-0d1c-5f0e-9c53-3f3a1c1d7a10")


def point_id(row: Id) -> int | str:
    """Returns the id of the point of a raw id: itself, or a UUID where it is a text or negative."""
    if isinstance(row, int) and row >= 0:
        return row
    return str(uuid.uuid5(_SPACE, str(row)))


def payloads(rows: NodeRows) -> list[dict[str, Any]]:
    """Returns ``id`` and ``bias`` of users, or ``id``, ``title`` and ``genres`` of movies."""
    if rows.kind == "users":
        return [{"id": row, "bias": bias} for row, bias in zip(rows.ids, rows.bias.tolist(), strict=True)]
    return [
        {"id": row, "title": title, "genres": genres}
        for row, title, genres in zip(rows.ids, rows.titles, rows.genres, strict=True)
    ]
