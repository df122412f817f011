"""Loads exports into a store, and brings a store to the next generation with a delta.

The state of a store has these entries:

===============  =====================================================================================
``format``       version of this table
``layout``       :class:`gnnrec.stores.store.StoreLayout`
``generation``   fingerprint of the export that the rows are; None until the first load is complete
``pending``      generation that is being loaded; None between loads
``source``       :attr:`gnnrec.stores.export_rows.ExportRows.key` of that load: an export, or a delta of a parent
``done``         finished steps of that load; None while its tables are being made
``offset``       added to all scores
``data``         prepared dataset with titles and genres
``new_movies``   whether movies without training ratings are loaded
``reach``        squared length that :func:`gnnrec.stores.export_rows.evened` brings movies nearer to
``width``        search width that had the wanted recall; None until it was measured
===============  =====================================================================================
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.stores.export_rows import ExportRows
from gnnrec.stores.store import KINDS, State, StoreLayout, VectorStore

FORMAT = 2


def load(store: VectorStore, source: ExportRows, place: str, overwrite: bool = False) -> bool:
    """Loads an export or a delta, or goes on where a load of the same was interrupted.

    A delta takes what the store records: whether movies without training ratings are loaded, and the dataset, unless it
    has one.

    Args:
        store: The store.
        source: The export or delta.
        place: Address and name of the store's tables, for messages.
        overwrite: Replace what is there under this name.

    Returns:
        Whether anything was loaded; False if the store had this generation already.

    Raises:
        UserError: The store has another model, rows that the delta does not follow, or tables of another program.
    """
    state = read_state(store, place, overwrite)
    if state is not None:
        _take(state, source)
    held = state is not None and state["generation"] == source.generation and state["pending"] is None
    resumes = state is not None and state["pending"] == source.generation and state["source"] == source.key
    if (held or resumes) and state is not None and state["new_movies"] != source.new_movies:
        if not overwrite:
            without = "with" if state["new_movies"] else "without"
            raise UserError(
                f"{place} holds {source.directory}, loaded {without} --new-movies: call it as before, or pass "
                "--overwrite to load it again"
            )
        held = resumes = False
    if held:
        return False
    if not resumes:
        state = _follow(state, source, place) if source.is_delta else _begin(store, state, source, place, overwrite)
    source.check()
    if not resumes:
        state |= {"pending": source.generation, "source": source.key, "done": 0 if source.is_delta else None}
        store.write_state(state)
    assert state is not None
    source.reach = state["reach"]
    if state["done"] is None:
        state["done"] = 0
        store.create(layout_of(state), state)
    _take_steps(store, source, state)
    state |= {"generation": source.generation, "pending": None, "source": None, "done": 0, "offset": source.offset}
    store.finish(state)
    return True


def _take(state: State, source: ExportRows) -> None:
    """Gives a source what the store records, a delta that follows it more than an export."""
    source.reach = state["reach"]
    if source.is_delta:
        source.new_movies = state["new_movies"]
        if not source.data.name:
            source.data = Path(state["data"])


def _take_steps(store: VectorStore, source: ExportRows, state: State) -> None:
    """Writes and removes rows, file by file, from the first step on that is not done."""
    for number, (action, kind, name) in enumerate(source.steps()):
        if number < state["done"]:
            continue
        state["done"] = number + 1
        if action == "remove":
            store.remove(kind, source.removed(kind), state)
            continue
        if source.is_delta and kind == "movies" and (left_out := source.left_out(name)):
            store.remove(kind, left_out, state | {"done": number})
        store.upsert(source.rows(kind, name), state)


def read_state(store: VectorStore, place: str, overwrite: bool = False) -> State | None:
    """Reads the state of a store; None if it has nothing under its name.

    Args:
        store: The store.
        place: Address and name of the store's tables, for messages.
        overwrite: Return None too if another version of gnnrec has written it.

    Raises:
        UserError: Another version of gnnrec, or another program, has written it.
    """
    try:
        state = store.read_state()
    except json.JSONDecodeError:
        state = {}
    if state is None:
        return None
    if not isinstance(state, dict) or "format" not in state:
        raise UserError(f"{place} has a state that gnnrec did not write: choose another --name")
    if state["format"] != FORMAT:
        if overwrite:
            return None
        raise UserError(f"{place} has format {state['format']}, this program reads {FORMAT}: pass --overwrite")
    return state


def layout_of(state: State) -> StoreLayout:
    """Returns the types of a store's columns."""
    return StoreLayout(**state["layout"])


def _begin(store: VectorStore, state: State | None, source: ExportRows, place: str, overwrite: bool) -> State:
    """Returns the state of a store that an export is loaded into from the beginning."""
    if state is not None and not overwrite:
        if state["pending"] is not None:
            raise UserError(
                f"{place} holds half of a load of another export or delta ({state['pending'][:12]}): finish that one, "
                "pass --overwrite, or choose another --name"
            )
        raise UserError(
            f"{place} holds another export ({state['generation'][:12]}, not {source.generation[:12]}): load the deltas "
            "between the two, pass --overwrite, or choose another --name"
        )
    if state is None and not overwrite and store.occupied():
        raise UserError(
            f"{place} has tables of these names that gnnrec did not write: choose another --name, or pass --overwrite "
            "to replace them"
        )
    return {
        "format": FORMAT,
        "layout": dataclasses.asdict(source.layout),
        "generation": None,
        "offset": source.offset,
        "data": str(source.data.resolve()),
        "new_movies": source.new_movies,
        "reach": source.find_reach(),
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
            f"{delta} has vectors of {layout.dim - 2} columns, {place} of {own.dim - 2}: it belongs to another model"
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
