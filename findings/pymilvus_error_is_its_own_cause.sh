#!/usr/bin/env bash
# pymilvus: the errors of the client are their own cause.
#
# Package: pymilvus 3.0.2, milvus-lite 3.2.2, Python 3.11 on Linux. Seen on 2026-11-30.
# Behavior: an error of a call of MilvusClient (a missing collection, a vector of another dimension, an unknown field)
#   has itself as __cause__. Python's own traceback notices that; a loop that follows causes until there is none goes on
#   forever. Errors that the client raises before it asks the server (a parameter of another type) have no cause.
# Output: describe True, search True, insert True, twice True, dimension True, query True, parameter False (one line each)
# Matters to: gnnrec.utils.resource_errors.is_out_of_memory, which follows causes, and notices a circle.
# Exits with 0 if this is still so, with 1 if it has changed.
set -euo pipefail

place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet pymilvus==3.0.2 milvus-lite==3.2.2
cat >"$place/causes.py" <<'PYTHON'
import sys

from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException, ParamError

client = MilvusClient(sys.argv[1])
schema = client.create_schema()
schema.add_field("id", DataType.INT64, is_primary=True)
schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
client.create_collection("movies", schema=schema)
calls = {
    "describe": lambda: client.describe_collection("missing"),
    "search": lambda: client.search("missing", [[1.0, 2.0, 3.0, 4.0]], limit=1),
    "insert": lambda: client.insert("missing", [{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}]),
    "twice": lambda: client.create_collection("movies", schema=schema),
    "dimension": lambda: client.insert("movies", [{"id": 1, "vector": [1.0, 2.0, 3.0]}]),
    "query": lambda: client.query("movies", filter="year == 3"),
    "parameter": lambda: client.insert("movies", 3),
}
for name, call in calls.items():
    try:
        call()
    except (MilvusException, ParamError, TypeError) as error:
        print(name, error.__cause__ is error)
    else:
        print(name, "no error")
PYTHON
seen="$("$place/venv/bin/python" "$place/causes.py" "$place/milvus.db" 2>"$place/log" || { cat "$place/log" >&2; exit 1; })"
echo "$seen"
expected="describe True
search True
insert True
twice True
dimension True
query True
parameter False"
[[ "$seen" == "$expected" ]] || { echo "this has changed" >&2; exit 1; }
