"""Leaves out what this machine cannot do, if its user says so."""

from __future__ import annotations

import os

#: Hosts on one machine need root, and iproute2, which is installed where it is missing and this is Debian.
collect_ignore = ["test_hosts.py"] if os.environ.get("GNNREC_SKIP_HOSTS") == "1" else []
