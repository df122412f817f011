"""``gnnrec store``: loads exports and deltas into a vector store, and asks it for movies."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.stores.addresses import shown
from gnnrec.stores.export_rows import ExportRows
from gnnrec.stores.loading import layout_of, load, read_state
from gnnrec.stores.open_store import opened_store
from gnnrec.stores.recall import TOP, choose_width
from gnnrec.stores.store import Id, State, VectorStore
from gnnrec.utils.bounds import bounded, check_bounds
from gnnrec.utils.log import print_line, printable


@dataclasses.dataclass
class StoreOptions:
    """Options of ``gnnrec store``.

    Args:
        to: Address of the store: postgresql://USER@HOST/DATABASE, qdrant:DIRECTORY, qdrant+http://HOST:6333,
            lancedb:DIRECTORY, milvus:FILE.db, milvus+http://HOST:19530, duckdb:FILE or faiss:DIRECTORY.
        name: Beginning of the names of its tables or collections.
        data: Prepared dataset with titles and genres; by default the one that the export, or the store for a delta,
            records.
        new_movies: Load movies without training ratings too, whose vectors come from their features alone; a delta
            follows the export before it.
        overwrite: Replace what the store holds under this name: another export, or tables of another program.
    """

    to: str
    name: str = "gnnrec"
    data: Path | None = None
    new_movies: bool = False
    overwrite: bool = False


@dataclasses.dataclass
class QueryOptions:
    """Options of ``gnnrec store --query``.

    Args:
        to: Address of the store, as for loading.
        user: Raw id of the user to find movies for.
        name: Beginning of the names of its tables or collections.
        top: Movies to find.
        genre: Genre to search in; by default all.
    """

    to: str
    user: str
    name: str = "gnnrec"
    top: int = bounded(10, least=1, most=1000)
    genre: str | None = None


def load_store(directory: Path, options: StoreOptions) -> dict:
    """Loads an export or a delta, and prints a line; measures the recall of searches after an export.

    Args:
        directory: The export or delta.
        options: The options.

    Returns:
        ``version``, ``settings``, ``load_s``, and for an export ``recall``.

    Raises:
        UserError: Bad input, or an error of the store; an interrupted load is resumed by the same call.
    """
    place = f"{shown(options.to)} ({options.name})"
    source = ExportRows(directory, options.data, options.new_movies)
    if not source.is_delta:
        source.check()
    with opened_store(options.to, options.name, new=not source.is_delta) as store:
        started = time.perf_counter()
        loaded = load(store, source, place, options.overwrite)
        seconds = time.perf_counter() - started
        result = {"version": store.version, "load_s": round(seconds, 2)}
        words = [f"{place}: {directory} loaded in {seconds:.1f} s" if loaded else f"{place}: already holds {directory}"]
        if source.unknown:
            words.append(f"{source.unknown:,} movies have no title because {source.data} lacks them (--data)")
        if not source.is_delta:
            state = read_state(store, place)
            assert state is not None
            result["recall"], users = choose_width(store, source)
            store.write_state(state | {"width": store.width})
            words.append(f"recall@{TOP} {result['recall']:.4f} for {users:,} users")
        result["settings"] = store.settings
        print_line(", ".join([*words, f"{result['version']}, {result['settings']}"]))
        return result


def query_store(options: QueryOptions) -> None:
    """Prints the best movies of a user, one line each, with the scores of the model before these are clipped.

    Raises:
        UserError: No complete load, no such user, or an error of the store.
    """
    check_bounds(options)
    place = f"{shown(options.to)} ({options.name})"
    with opened_store(options.to, options.name, new=False) as store:
        state = complete_state(store, place)
        user: Id = options.user
        if layout_of(state).users == "integer":
            if not options.user.removeprefix("-").isdecimal():
                raise UserError(f"--user {options.user}: {place} has users with whole numbers as ids")
            user = int(options.user)
        is_possible = isinstance(user, str) or -(2**63) <= user < 2**63
        found = store.find_user(user) if is_possible else None
        if found is None:
            raise UserError(f"--user {options.user}: no user in {place} has this id")
        vector, bias = found
        store.width = store.width if state["width"] is None else state["width"]
        (hits,) = store.search(vector[None], options.top, options.genre)
    if not hits:
        raise UserError(f"--genre {options.genre}: no movie in {place} has it; genres are spelled as in the dataset")
    print_line(f"for user {options.user}")
    for rank, hit in enumerate(hits, 1):
        score = hit.score + bias + state["offset"]
        print_line(printable(f"{rank:4}  {score:.4f}  {hit.movie}  {hit.title}".rstrip()))


def complete_state(store: VectorStore, place: str) -> State:
    """Reads the state of a store that holds a complete export.

    Raises:
        UserError: It holds nothing, or half of a load.
    """
    state = read_state(store, place)
    if state is None:
        raise UserError(f"{place} holds no export: load one with gnnrec store EXPORT --to ADDRESS")
    if state["pending"] is not None:
        raise UserError(f"{place} holds half of a load ({state['pending'][:12]}): run the same gnnrec store again")
    return state
