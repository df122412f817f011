"""The commands and examples in docs/stores.md run as they stand, with a real PostgreSQL behind the address there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gnnrec.data.prepared import PreparedDataset
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.generations.delta import write_delta
from gnnrec.inference.generations.stored_rows import StoredRows
from gnnrec.stores.open_store import STORES
from tests.end_to_end.commands import ROOT
from tests.end_to_end.test_documents_run import run_gnnrec
from tests.inference.made_export import GENRES, all_scores, make_dataset, make_export
from tests.stores.servers import postgresql

pytestmark = [pytest.mark.slow, pytest.mark.processes]

USER, LISTED = 9001, "postgresql://postgres@localhost/postgres"
TEXT = (ROOT / "docs" / "stores.md").read_text(encoding="utf-8")
#: Heading -> the commands and the Python of a store.
SECTIONS = {
    heading: (re.findall(r"^gnnrec store .*", body, re.M), re.search(r"^```python\n(.*?)^```", body, re.M | re.S)[1])
    for heading, body in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Path:
    """A directory with ``export/served``, ``export/later`` and the delta ``export/change`` between them."""
    place = tmp_path_factory.mktemp("stores document")
    data = make_dataset(place / "data")
    made = [make_export(data, place / "export" / name, seed=seed) for seed, name in enumerate(("served", "later"))]
    write_delta(*(StoredRows(out, read_manifest(out)) for out in made), place / "export" / "change", overwrite=False)
    return place


def test_every_store_has_a_section():
    addresses = [line.split("--to ")[1].split(":")[0] for commands, _ in SECTIONS.values() for line in commands]
    kinds = {kind.split("+")[0] for kind in STORES}
    assert {address.split("+")[0] for address in addresses} == kinds and len(addresses) == 3 * len(kinds)
    assert set(re.findall(r"\((#[\w-]+)\)", TEXT)) == {"#" + heading.lower().replace(" ", "-") for heading in SECTIONS}


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_store_answers_as_the_document_says(exports, heading, monkeypatch, capsys):
    monkeypatch.chdir(exports)
    commands, example = SECTIONS[heading]
    if LISTED in example:
        with postgresql() as address:
            check([line.replace(LISTED, address) for line in commands], example.replace(LISTED, address), capsys)
    else:
        check(commands, example, capsys)


def check(commands: list[str], example: str, capsys: pytest.CaptureFixture) -> None:
    """Runs the commands and the example, and compares their lists with the scores of the later export."""
    for line in commands:
        words = shlex.split(line)
        if "--user" in words:
            words[words.index("--user") + 1] = str(USER)
        capsys.readouterr()
        run_gnnrec(words[1:])
    printed = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    data = Path("export/later")
    dataset = PreparedDataset(Path(read_manifest(data)["data"]))
    row = list(dataset.users["user"]).index(USER)
    scores = dict(zip(dataset.movies["movie"].tolist(), all_scores(data)[row], strict=True))
    drama = [movie for movie in scores if "Drama" in GENRES[(movie - 2) // 5 % 4]]
    expected = sorted((scores[movie] for movie in drama), reverse=True)[:10]
    np.testing.assert_allclose([scores[int(words[2])] for words in printed], expected, atol=1e-4)
    np.testing.assert_allclose([float(words[1]) for words in printed], expected, atol=1e-3)
    best = run_example(example.replace("42", str(USER)))
    assert [scores[movie] for movie, _ in best] == pytest.approx(expected, abs=1e-4)
    assert all(title.startswith("Film ") for _, title in best)


def run_example(example: str) -> list[tuple[int, str]]:
    """Runs an example in a process of its own, as readers do, and returns its ``best``."""
    if "pymilvus" in example:
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_all()  # as at the end of a process: until then Milvus Lite locks its file
    program = f"{example}\nimport json\nprint(json.dumps([[int(movie), title] for movie, title in best]))\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
