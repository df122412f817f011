"""JSON without NaN and infinity."""

from __future__ import annotations

import json
import math

from gnnrec.utils import strict_json


def test_numbers_that_json_does_not_have_become_null():
    value = {"a": [1, 2.5, math.nan], "b": {"c": (math.inf, -math.inf, "nan")}, "d": None, "e": True}
    text = strict_json.dumps(value)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(text, parse_constant=refuse) == {
        "a": [1, 2.5, None], "b": {"c": [None, None, "nan"]}, "d": None, "e": True
    }  # fmt: skip
    assert strict_json.dumps({"a": 1}, indent=1) == '{\n "a": 1\n}'
