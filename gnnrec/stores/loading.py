"""Loads exports into a store, and brings a store to the next generation with a delta.

The state of a store has these entries:

===============  =====================================================================================
``format``       version of this table
``layout``       :class:`gnnrec.stores.store.StoreLayout`
``generation``   fingerprint of the export that the rows are; None until the first load is complete
``pending``      generation that is being loaded; None between loads
``done``         finished steps of that load
``offset``       added to all scores
``data``         prepared dataset with titles and genres
``new_movies``   whether movies without training ratings are loaded
``width``        search width that had the wanted recall; None until it was measured
===============  =====================================================================================
"""

from __future__ import annotations

import dataclasses

from gnnrec.errors import UserError
from gnnrec.stores.export_rows import ExportRows
from gnnrec.stores.store import KINDS, State, StoreLayout, VectorStore

FORMAT = 1


def load(store: VectorStore, source: ExportRows, place: str, new_movies: bool, overwrite: bool) -> bool:
    """Loads an export or a delta, or goes on where a load of the same was interrupted.

    Args:
        store: The store.
        source: The export or delta.
        place: Address and name of the store's tables, for messages.
        new_movies: Whether movies without training ratings are loaded; a delta follows the store.
        overwrite: Replace what another load has written.

    Returns:
        Whether anything was loaded; False if the store had this generation already.

    Raises:
        UserError: The store has another model, or rows that the delta does not follow.
    """
    state = read_state(store, place)
    if state is not None and state["generation"] == source.generation and state["pending"] is None:
        return False
    resumes = state is not None and state["pending"] == source.generation
    if not resumes:
        state = _follow(state, source, place) if source.is_delta else _begin(state, source, place, overwrite)
        source.check()
        state |= {"pending": source.generation, "done": 0}
    assert state is not None
    if not source.is_delta and not resumes:
        state["new_movies"] = new_movies
        store.create(layout_of(state), state)
    elif not resumes:
        store.write_state(state)
    steps = source.steps()
    for number, (action, kind, name) in enumerate(steps):
        if number < state["done"]:
            continue
        state["done"] = number + 1
        if action == "remove":
            store.remove(kind, source.removed(kind), state)
            continue
        if source.is_delta and kind == "movies" and (left_out := source.left_out(name)):
            store.remove(kind, left_out, state | {"done": number})
        store.upsert(source.rows(kind, name), state)
    state |= {"generation": source.generation, "pending": None, "done": 0, "offset": source.offset}
    store.finish(state)
    return True


def read_state(store: VectorStore, place: str) -> State | None:
    """Reads the state of a store; None if it has nothing under its name.

    Raises:
        UserError: Another version of gnnrec has written it.
    """
    state = store.read_state()
    if state is not None and state.get("format") != FORMAT:
        raise UserError(f"{place} has format {state.get('format')}, this program reads {FORMAT}: pass --overwrite")
    return state


def layout_of(state: State) -> StoreLayout:
    """Returns the types of a store's columns."""
    return StoreLayout(**state["layout"])


def _begin(state: State | None, source: ExportRows, place: str, overwrite: bool) -> State:
    """Returns the state of a store that an export is loaded into from the beginning."""
    if state is not None and not overwrite:
        held = state["generation"] or state["pending"]
        half = "half of a load of " if state["generation"] is None else ""
        raise UserError(
            f"{place} holds {half}another export ({held[:12]}, not {source.generation[:12]}): load the deltas between "
            "the two, pass --overwrite, or choose another --name"
        )
    return {
        "format": FORMAT,
        "layout": dataclasses.asdict(source.layout),
        "generation": None,
        "offset": source.offset,
        "data": str(source.data.resolve()),
        "width": None,
    }


def _follow(state: State | None, source: ExportRows, place: str) -> State:
    """Returns the state of a store that a delta is applied to, after checks that it follows."""
    delta = source.directory
    if state is None or state["generation"] is None:
        raise UserError(f"{place} holds no complete export that {delta} could follow: load the export first")
    if state["pending"] is not None:
        raise UserError(f"{place} holds half of another load ({state['pending'][:12]}): finish that one before {delta}")
    layout, own = source.layout, layout_of(state)
    if layout.dim != own.dim:
        raise UserError(
            f"{delta} has vectors of {layout.dim - 1} columns, {place} of {own.dim - 1}: it belongs to another model"
        )
    for kind in KINDS:
        if layout.ids(kind) != own.ids(kind):
            raise UserError(
                f"{delta} has {layout.ids(kind)} ids of {kind}, {place} {own.ids(kind)} ones: it belongs to other data"
            )
    parent = source.stored.manifest["parent"]
    if parent != state["generation"]:
        raise UserError(
            f"{delta} follows the export {parent[:12]}, and {place} holds {state['generation'][:12]}: load the deltas "
            "in the order of their exports"
        )
    return dict(state)
