"""Opens a store by its address, and converts errors of its library into one line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.stores.addresses import shown, without_secrets
from gnnrec.stores.store import VectorStore, check_name
from gnnrec.utils.resource_errors import reraise_out_of_memory


def _pgvector(address: str, name: str) -> VectorStore:
    from gnnrec.stores.pgvector import PgVector

    return PgVector(address, name)


def _duckdb(address: str, name: str) -> VectorStore:
    from gnnrec.stores.duckdb_store import DuckDB

    return DuckDB(Path(_after(address)), name)


def _faiss(address: str, name: str) -> VectorStore:
    from gnnrec.stores.faiss_store import FaissStore

    return FaissStore(Path(_after(address)), name)


def _lancedb(address: str, name: str) -> VectorStore:
    from gnnrec.stores.lancedb_store import LanceStore

    return LanceStore(_after(address), name)


def _milvus(address: str, name: str) -> VectorStore:
    from gnnrec.stores.milvus_store import Milvus

    place = address.removeprefix("milvus+") if address.startswith("milvus+") else _after(address)
    if "://" not in place and not place.endswith(".db"):
        raise UserError(f"--to {address}: a file of Milvus Lite ends with .db")
    return Milvus(place, name)


def _qdrant(address: str, name: str) -> VectorStore:
    from gnnrec.stores.qdrant_store import Qdrant

    return Qdrant(_after(address) if address.startswith("qdrant+local:") else address.removeprefix("qdrant+"), name)


def _qdrant_edge(address: str, name: str) -> VectorStore:
    from gnnrec.stores.qdrant_edge_store import QdrantEdge

    return QdrantEdge(Path(_after(address)), name)


def _after(address: str) -> str:
    """Returns the place in an address of files."""
    place = address.split(":", 1)[1]
    if not place:
        raise UserError(f"--to {address} lacks the place of the files after the colon")
    return place


#: Begin of an address -> its form, and how to open it.
STORES: dict[str, tuple[str, Callable[[str, str], VectorStore]]] = {
    "postgresql": ("postgresql://USER@HOST/DATABASE", _pgvector),
    "qdrant": ("qdrant:DIRECTORY", _qdrant_edge),
    "qdrant+http": ("qdrant+http://HOST:6333", _qdrant),
    "qdrant+https": ("qdrant+https://HOST:6333", _qdrant),
    "qdrant+local": ("qdrant+local:DIRECTORY", _qdrant),
    "lancedb": ("lancedb:DIRECTORY", _lancedb),
    "milvus": ("milvus:FILE.db", _milvus),
    "milvus+http": ("milvus+http://HOST:19530", _milvus),
    "milvus+https": ("milvus+https://HOST:19530", _milvus),
    "duckdb": ("duckdb:FILE", _duckdb),
    "faiss": ("faiss:DIRECTORY", _faiss),
}


def _is_of_files(scheme: str) -> bool:
    return scheme != "postgresql" and not scheme.endswith(("http", "https"))


@contextlib.contextmanager
def opened_store(address: str, name: str, new: bool = True) -> Iterator[VectorStore]:
    """Opens a store, and closes it after the block; errors of its library become one line.

    Args:
        address: The store, as :data:`STORES` describes.
        name: Name of the tables in it.
        new: Whether a file or directory of a store that is missing may be made.

    Raises:
        UserError: No such store, or an error of the store.
    """
    check_name(name)
    scheme = address.split(":", 1)[0]
    if scheme not in STORES or ":" not in address:
        forms = ", ".join(form for form, _ in STORES.values())
        raise UserError(f"--to {shown(address)} is no address of a store: use one of {forms}")
    if not new and _is_of_files(scheme) and not Path(_after(address)).exists():
        raise UserError(
            f"--to {address}: {_after(address)} does not exist: load an export into it with gnnrec store first"
        )
    try:
        store = STORES[scheme][1](address, name)
    except UserError:
        raise
    except ImportError as error:
        raise UserError(
            f"--to {shown(address)} needs a package that is not installed ({error}): pip install 'gnnrec[stores]'"
        ) from None
    except Exception as error:  # each library has errors of its own for a store that is not there
        raise _one_line(address, error, "cannot be opened") from None
    try:
        yield store
    except store.errors as error:
        raise _one_line(address, error, "refuses") from None
    finally:
        store.close()


def _one_line(address: str, error: Exception, problem: str) -> UserError:
    reraise_out_of_memory(error)
    text = without_secrets(" ".join(str(error).split()) or type(error).__name__, address)
    reason = text[:200].rstrip(". ")
    return UserError(f"{shown(address)} {problem} ({reason}): check the address, and that the store is running")
