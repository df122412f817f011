"""One rank of an export that reports its memory; started by :mod:`benchmarks.export_scale`."""

import os
import resource
import sys
from pathlib import Path

from gnnrec.distributed.process_group import process_group, share_cores
from gnnrec.inference.export import ExportOptions, export

if __name__ == "__main__":
    share_cores()
    with process_group("cpu") as world:
        export(Path(sys.argv[1]), ExportOptions(Path(sys.argv[2])), world)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    Path(f"{sys.argv[3]}-{os.environ['RANK']}").write_text(str(peak))
