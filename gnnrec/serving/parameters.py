"""Parameters of requests: their kinds and bounds, by which requests are read and OpenAPI is written."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from gnnrec.serving.errors import RequestError, shortened

Kind = Literal["integer", "number", "boolean", "string", "id"]
#: Characters of a text or id.
_LONGEST = 1000
_WHOLE = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


#: Kind -> whether a value is of it, and what it is.
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "integer": (_is_whole, "a whole number"),
    "number": (lambda value: (_is_whole(value) or isinstance(value, float)) and math.isfinite(value), "a number"),
    "boolean": (lambda value: isinstance(value, bool), "true or false"),
    "string": (lambda value: isinstance(value, str), "a text"),
    "id": (lambda value: isinstance(value, str) or _is_whole(value), "an id, a whole number or a text"),
}


@dataclasses.dataclass(frozen=True)
class RequestParameter:
    """A parameter.

    Attributes:
        name: Its name.
        kind: Its kind; an ``id`` is a whole number or a text.
        help: A sentence.
        default: Value of a request without it; an empty tuple for a list.
        least: Lowest number.
        most: Highest number.
        many: Whether it is a list, which a query repeats.
        choices: Texts that it may be; empty for all.
        required: Whether it must be there.
    """

    name: str
    kind: Kind
    help: str
    default: Any = None
    least: float | None = None
    most: float | None = None
    many: bool = False
    choices: tuple[str, ...] = ()
    required: bool = False

    def schema(self) -> dict[str, Any]:
        """Returns its JSON schema."""
        schema: dict[str, Any] = {"type": ["integer", "string"] if self.kind == "id" else self.kind}
        schema |= {"enum": list(self.choices)} if self.choices else {}
        schema |= {} if self.least is None else {"minimum": self.least}
        schema |= {} if self.most is None else {"maximum": self.most}
        if self.many:
            return {"type": "array", "items": schema}
        return schema if self.default is None else schema | {"default": self.default}

    def of_text(self, text: str) -> Any:
        """Converts text of a query.

        Raises:
            RequestError: The text is no value of this kind.
        """
        if self.kind == "integer":
            return self._checked(int(text) if _WHOLE.fullmatch(text) else text)
        if self.kind == "number":
            return self._checked(float(text) if _NUMBER.fullmatch(text) else text)
        if self.kind == "boolean":
            return self._checked({"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text))
        return self._checked(text)

    def of_json(self, value: Any) -> Any:
        """Converts a value of a JSON body.

        Raises:
            RequestError: It is no value of this kind.
        """
        if not self.many:
            return self._checked(value)
        if not isinstance(value, list):
            raise RequestError(400, f"{self.name} {shortened(value)}: send a list")
        return tuple(map(self._checked, value))

    def _checked(self, value: Any) -> Any:
        fits, wanted = _KINDS[self.kind]
        if not fits(value):
            raise RequestError(400, f"{self.name} {shortened(value)}: send {wanted}")
        if isinstance(value, str) and len(value) > _LONGEST:
            raise RequestError(400, f"{self.name} has {len(value)} characters: send at most {_LONGEST}")
        if self.choices and value not in self.choices:
            raise RequestError(400, f"{self.name} {shortened(value)}: send one of {', '.join(self.choices)}")
        low, high = self.least, self.most
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
            raise RequestError(400, f"{self.name} {shortened(value)}: send a number of {bounds}")
        return str(value) if self.kind == "id" else value


class ParameterSet:
    """The parameters of a route.

    Args:
        *parameters: The parameters.
    """

    def __init__(self, *parameters: RequestParameter):
        self.all = parameters
        self._known = {parameter.name: parameter for parameter in parameters}
        self._defaults = {each.name: () if each.many else each.default for each in parameters}
        self._required = tuple(parameter for parameter in parameters if parameter.required)

    def of_query(self, items: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Reads the values of a query; those that are missing get their defaults.

        Raises:
            RequestError: An unknown name, a name that comes twice, or a bad value.
        """
        values: dict[str, Any] = {}
        for name, text in items:
            parameter = self._find(name)
            value = parameter.of_text(text)
            if parameter.many:
                values.setdefault(name, []).append(value)
            elif name in values:
                raise RequestError(400, f"{name} comes twice: send it once")
            else:
                values[name] = value
        return self._complete(
            {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        )

    def of_json(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Reads the values of a JSON object; null stands for a missing value. Errors are those of :meth:`of_query`."""
        return self._complete({name: self._find(name).of_json(body[name]) for name in body if body[name] is not None})

    def _find(self, name: str) -> RequestParameter:
        if name not in self._known:
            near = difflib.get_close_matches(name[:60], self._known, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise RequestError(
                400, f"{shortened(name)} is no parameter here{meant}: send some of {', '.join(self._known)}"
            )
        return self._known[name]

    def _complete(self, values: dict[str, Any]) -> dict[str, Any]:
        for parameter in self._required:
            if parameter.name not in values:
                text = parameter.help
                raise RequestError(400, f"{parameter.name} is missing: {text[0].lower()}{text[1:]}")
        return self._defaults | values
