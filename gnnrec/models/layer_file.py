"""Layers in a user's own file: ``--model.architecture my_layers.py:MyConv``.

The name after the colon is a subclass of :class:`~gnnrec.models.conv.BipartiteConv`, or a function. A layer is built by
``build(options, spec)``: the function itself, the method of that name if the class has one, else the function of that
name in the file. A run directory keeps a copy of the file, from which the run is resumed, exported and scored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.resource_errors import reraise_out_of_memory

if TYPE_CHECKING:
    from gnnrec.models.options import ModelOptions

#: Copy of the file in a run directory, and its description.
COPY, DESCRIPTION = "layer.py", "layer.json"


def is_layer_file(architecture: str) -> bool:
    """Whether an architecture names a file rather than a built-in layer."""
    return architecture.endswith(".py") or ".py:" in architecture


def check_form(architecture: str) -> None:
    """Refuses an architecture that is not ``FILE.py:NAME``; nothing is read.

    Raises:
        UserError: It has no name after the file.
    """
    path, _, name = architecture.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise UserError(
            f"--model.architecture {architecture}: write FILE.py:NAME, a class or a build function in FILE.py"
        )


def read_builder(architecture: str) -> Callable[..., Any]:
    """The function that builds a layer.

    Args:
        architecture: ``FILE.py:NAME``.

    Raises:
        UserError: The file is missing or cannot be imported, or what it has under that name is no layer.
    """
    check_form(architecture)
    path, _, name = architecture.rpartition(":")
    option = f"--model.architecture {architecture}"
    module = _import(Path(path), option)
    builder = getattr(module, name, None)
    if builder is None:
        raise UserError(f"{option}: {path} has no {name}: name a class or a function in it")
    if not inspect.isclass(builder):
        if not callable(builder):
            raise UserError(f"{option}: {name} is neither a class nor a function")
        return _checked(builder, option)
    from gnnrec.models.conv import BipartiteConv  # torch takes its time

    if not issubclass(builder, BipartiteConv):
        raise UserError(f"{option}: {name} is not a layer: derive it from gnnrec.models.conv.BipartiteConv")
    build = getattr(builder, "build", None) or getattr(module, "build", None)
    if build is None:
        raise UserError(f"{option}: neither {name} nor {path} has a function build(options, spec): add one")
    return _checked(build, option, builder)


def keep_copy(architecture: str, run: Path) -> None:
    """Writes the file of an architecture into a new run directory, with its checksum.

    Args:
        architecture: ``FILE.py:NAME``.
        run: The run directory.
    """
    content = Path(architecture.rpartition(":")[0]).read_bytes()
    (run / COPY).write_bytes(content)
    description = {"architecture": architecture, "sha256": _digest(content)}
    files.write_text(run / DESCRIPTION, json.dumps(description, indent=1) + "\n")


def changed_since(architecture: str, run: Path) -> bool:
    """Whether the file of an architecture differs from the copy in a run directory. A file that is gone does not."""
    path = Path(architecture.rpartition(":")[0])
    return path.is_file() and (run / COPY).is_file() and path.read_bytes() != (run / COPY).read_bytes()


def of_run(options: ModelOptions, run: Path) -> ModelOptions:
    """Options of a run's model, whose layer is read from the copy in the run directory, if there is one.

    Args:
        options: The options.
        run: The run directory.

    Raises:
        UserError: The copy is not what was trained with.
    """
    if not is_layer_file(options.architecture) or not (run / DESCRIPTION).exists():
        return options
    try:
        expected = json.loads((run / DESCRIPTION).read_text(encoding="utf-8"))["sha256"]
        intact = _digest((run / COPY).read_bytes()) == expected
    except (OSError, ValueError, KeyError):
        intact = False
    if not intact:
        raise UserError(f"{run / COPY} is not the layer that the run was trained with: restore it, or train again")
    return dataclasses.replace(options, architecture=f"{run / COPY}:{options.architecture.rpartition(':')[2]}")


def _import(path: Path, option: str) -> ModuleType:
    """The module in a file, imported once for each content."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{option}: {path} cannot be read ({error.strerror}): name a Python file") from None
    name = f"gnnrec_layer_{_digest(content)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)  # no .pyc: the file may be on a read-only disk
    except Exception as error:
        del sys.modules[name]
        reraise_out_of_memory(error)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{option}: {path} cannot be imported ({reason}): correct it") from None
    return module


def _checked(build: Callable[..., Any], option: str, kind: type | None = None) -> Callable[..., Any]:
    """A build function that refuses a result of another type."""

    def call(options: Any, spec: Any) -> Any:
        from gnnrec.models.conv import BipartiteConv

        layer = build(options, spec)
        if not isinstance(layer, kind or BipartiteConv):
            wanted = "BipartiteConv" if kind is None else kind.__name__
            raise UserError(f"{option}: build(options, spec) returns a {type(layer).__name__}: return a {wanted}")
        return layer

    return call


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
