"""Attention over ragged lists against dense tensors of receivers x senders x heads, in values and gradients."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from gnnrec.kernels import attention, dispatch, threads
from gnnrec.kernels.attention import attention_sums, largest_logits
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.ragged import offsets

USERS, MOVIES, LEVELS, SLOPE, WEIGHT = 11, 7, 4, 0.2, 1.6
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
NAMES = ["value", "second", "sender", "receiver", "rating"]
EVERYTHING, NOTHING = {"second", "receiver", "rating", "levels"}, set()


@pytest.fixture(params=["reference", "cpu"], autouse=True)
def implementation(request):
    with dispatch.forced(request.param):
        yield request.param


class Case:
    """Random graph whose first user and last movie have no edges, and tables for both directions.

    Args:
        to_users: The direction.
        heads: Attention heads.
        channels: Columns of a head.
        given: Optional inputs to use, of ``second``, ``receiver``, ``rating`` and ``levels``.
        dtype: Type of all tables.
        edges: False for a graph without edges.
    """

    def __init__(self, to_users, heads, channels=8, given=EVERYTHING, dtype=torch.float64, edges=True):
        generator = torch.Generator().manual_seed(heads + 10 * to_users)
        self.to_users, self.given, self.dtype = to_users, given, dtype

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.mask = (torch.rand(USERS, MOVIES, generator=generator) < 0.5) & edges
        self.mask[0], self.mask[:, -1] = False, False
        user, movie = self.mask.nonzero(as_tuple=True)
        factor, level = normal(USERS, MOVIES), torch.randint(LEVELS, (USERS, MOVIES), generator=generator)
        self.lists = CSRLists(offsets(self.mask.sum(1)), movie.int(), MOVIES, factor[user, movie].to(dtype), WEIGHT)
        self.level = level[user, movie].to(torch.uint8) if given & {"rating", "levels"} else None
        self.num_levels = LEVELS if "levels" in given else 0
        # The dense matrices have receivers in rows.
        matrices = [matrix if to_users else matrix.T for matrix in (self.mask, factor / WEIGHT, level)]
        self.dense_mask, self.dense_factor, self.dense_level = matrices
        receivers, senders = self.dense_mask.shape
        shapes = [(senders, heads * channels)] * 2 + [(senders, heads), (receivers, heads), (LEVELS, heads)]
        self.tables = {name: normal(*shape).to(dtype) for name, shape in zip(NAMES, shapes)}
        self.tables = {name: table for name, table in self.tables.items() if name in given | {"value", "sender"}}
        self.shift = normal(receivers, heads).to(dtype)
        self.weights = [normal(receivers, heads * channels), normal(receivers, heads), normal(receivers, heads, LEVELS)]

    def dense_logits(self, tables: dict[str, Tensor]) -> Tensor:
        """Computes ``[receivers, senders, heads]``, for pairs without an edge too."""
        logit = tables["sender"].unsqueeze(0).expand(len(self.shift), -1, -1)
        if "receiver" in tables:
            logit = logit + tables["receiver"].unsqueeze(1)
        if "rating" in tables:
            logit = logit + tables["rating"][self.dense_level]
        return leaky_relu(logit, SLOPE)

    def expected(self, tables: dict[str, Tensor]) -> list[Tensor]:
        attention = (self.dense_logits(tables) - self.shift.double().unsqueeze(1)).exp() * self.dense_mask.unsqueeze(2)
        heads = attention.shape[2]
        numerator = torch.einsum("rsh,shc->rhc", attention, tables["value"].unflatten(1, (heads, -1)))
        if "second" in tables:
            second = tables["second"].unflatten(1, (heads, -1))
            numerator = numerator + torch.einsum("rsh,rs,shc->rhc", attention, self.dense_factor, second)
        levels = (self.dense_level.unsqueeze(2) == torch.arange(self.num_levels)).double()
        return [numerator.flatten(1), attention.sum(1), torch.einsum("rsh,rsl->rhl", attention, levels)]

    def actual(self, tables: dict[str, Tensor]) -> list[Tensor]:
        value, second, sender, receiver, rating = map(tables.get, NAMES)
        return attention_sums(
            value, second, sender, receiver, rating, self.shift,
            self.lists, self.level, SLOPE, self.to_users, self.num_levels,
        )  # fmt: skip

    def loss(self, results: list[Tensor], leave_out: int | None = None) -> Tensor:
        weights = [weight[..., : self.num_levels] if n == 2 else weight for n, weight in enumerate(self.weights)]
        return sum((w * r).sum() for n, (w, r) in enumerate(zip(weights, results)) if n != leave_out)


def check(case: Case, leave_out: int | None = None, tolerance: float | None = None) -> None:
    """Compares values and gradients of all tables with the dense computation."""
    tables = {name: table.detach().requires_grad_() for name, table in case.tables.items()}
    exact = {name: table.detach().double().requires_grad_() for name, table in case.tables.items()}
    results, expected = case.actual(tables), case.expected(exact)
    tolerance = tolerance or TOLERANCE[case.dtype]
    for actual, wanted in zip(results, expected):
        assert actual.dtype == case.dtype and actual.shape == wanted.shape
        torch.testing.assert_close(actual.double(), wanted, atol=tolerance, rtol=tolerance)
    gradients = torch.autograd.grad(case.loss(results, leave_out), list(tables.values()))
    loss = case.loss(expected, leave_out)
    wanted_gradients = torch.autograd.grad(loss, list(exact.values()), materialize_grads=True)
    for name, actual, wanted in zip(tables, gradients, wanted_gradients):
        scale = max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(actual.double(), wanted, atol=tolerance * scale, rtol=tolerance, msg=name)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("to_users", [True, False])
def test_values_and_gradients_equal_dense_attention(to_users, heads):
    check(Case(to_users, heads))


@pytest.mark.parametrize("to_users", [True, False])
@pytest.mark.parametrize(
    "given", [set(subset) for n in range(4) for subset in itertools.combinations(sorted(EVERYTHING), n)]
)
def test_optional_inputs_may_be_none(to_users, given):
    check(Case(to_users, 2, given=given))


@pytest.mark.parametrize("to_users", [True, False])
@pytest.mark.parametrize("channels", [5, 24])
def test_heads_have_any_number_of_channels(to_users, channels):
    check(Case(to_users, 2, channels))


@pytest.mark.parametrize("to_users", [True, False])
@pytest.mark.parametrize("leave_out", [0, 1, 2])
def test_each_result_may_be_unused(to_users, leave_out):
    check(Case(to_users, 2), leave_out)


@pytest.mark.parametrize("to_users", [True, False])
def test_float32_equals_dense_attention(to_users):
    check(Case(to_users, 2, 64, dtype=torch.float32))


@pytest.mark.parametrize("to_users", [True, False])
def test_a_graph_may_have_no_edges(to_users):
    check(Case(to_users, 2, edges=False))


@pytest.mark.parametrize("to_users", [True, False])
def test_results_on_several_threads_equal_dense_attention(to_users, monkeypatch):
    monkeypatch.setattr(threads, "SMALL", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        check(Case(to_users, 2))
        test_largest_logits_equal_dense_logits(to_users, EVERYTHING)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("to_users", [True, False])
@pytest.mark.parametrize("given", [EVERYTHING, NOTHING, {"receiver"}, {"rating"}])
def test_largest_logits_equal_dense_logits(to_users, given):
    case = Case(to_users, 2, given=given)
    _, _, sender, receiver, rating = map(case.tables.get, NAMES)
    actual = largest_logits(sender.requires_grad_(), receiver, rating, case.lists, case.level, SLOPE, to_users)
    expected = case.dense_logits(case.tables).masked_fill(~case.dense_mask.unsqueeze(2), -torch.inf).amax(1)
    assert not actual.requires_grad and actual.isneginf().any()
    torch.testing.assert_close(actual, expected.detach(), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("to_users", [True, False])
def test_bfloat16_values_are_summed_in_float32(to_users):
    case = Case(to_users, 2, 64, dtype=torch.float32)
    halves = {name: case.tables[name].bfloat16().requires_grad_() for name in ("value", "second")}
    exact = {name: table.detach().double().requires_grad_() for name, table in halves.items()}
    actual, expected = case.actual(case.tables | halves), case.expected(case.tables | exact)
    assert actual[0].dtype == torch.float32
    torch.testing.assert_close(actual[0].double(), expected[0], atol=1e-5, rtol=1e-5)
    gradients = torch.autograd.grad(case.loss(actual), list(halves.values()))
    wanted = torch.autograd.grad(case.loss(expected), list(exact.values()))
    for gradient, expected_gradient in zip(gradients, wanted):
        assert gradient.dtype == torch.bfloat16
        torch.testing.assert_close(gradient.double(), expected_gradient, atol=0.01, rtol=0.01)


@pytest.mark.parametrize("to_users", [True, False])
def test_large_and_small_logits_stay_in_range(to_users):
    case = Case(to_users, 2, 64, dtype=torch.float32)
    case.tables["sender"] *= 200
    _, _, sender, receiver, rating = map(case.tables.get, NAMES)
    case.shift = largest_logits(sender, receiver, rating, case.lists, case.level, SLOPE, to_users)
    case.shift = torch.where(case.shift.isfinite(), case.shift, 0)
    # Logits of some hundreds are accurate to a few 1e-5 only.
    check(case, tolerance=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("to_users", [True, False])
def test_operators_pass_opcheck(to_users):
    case = Case(to_users, 2)
    lists, tables = case.lists, [case.tables[name].requires_grad_() for name in NAMES]
    edges = [lists.pointer, lists.entry, lists.factor, case.level, None, None, None]
    arguments = *tables, case.shift, *edges, WEIGHT, MOVIES, SLOPE, to_users, LEVELS
    checks = "test_schema", "test_faketensor", "test_autograd_registration"
    actual = torch.library.opcheck(torch.ops.gnnrec.attention_sums.default, arguments, test_utils=checks)
    assert set(actual.values()) == {"SUCCESS"}


@pytest.mark.parametrize(("to_users", "gradients"), [(True, False), (True, True), (False, False)])
def test_gpus_sort_edges_by_movie_only_for_sums_over_movies_and_gradients(to_users, gradients, monkeypatch):
    case = Case(to_users, 2)
    kernels = SimpleNamespace(
        largest=lambda logit, *_: logit.new_empty(case.shift.shape),
        sums=lambda tables, edges, weight, slope, to_users, kinds: [
            tables[0].new_empty(len(case.shift), 16), tables[0].new_empty(len(case.shift), 2, kinds)
        ],
    )  # fmt: skip
    monkeypatch.setitem(attention._KERNELS, "meta", kernels)
    tables = {name: table.to("meta").requires_grad_() for name, table in case.tables.items()}
    pointer, entry, factor = (tensor.to("meta") for tensor in (case.lists.pointer, case.lists.entry, case.lists.factor))
    case.lists, case.level = CSRLists(pointer, entry, MOVIES, factor, WEIGHT), case.level.to("meta")
    case.shift = case.shift.to("meta")
    _, _, sender, receiver, rating = map(tables.get, NAMES)
    with torch.set_grad_enabled(gradients):
        largest_logits(sender, receiver, rating, case.lists, case.level, SLOPE, to_users)
        assert ("by_column" in case.lists._computed) == (not to_users)
        case.actual(tables)
        assert ("by_column" in case.lists._computed) == (gradients or not to_users)


@pytest.mark.parametrize("broken", ["row scale", "slope", "factor", "level"])
def test_errors_name_the_argument(broken):
    case = Case(True, 2)
    case.lists = dataclasses.replace(case.lists, row_scale=torch.ones(USERS)) if broken == "row scale" else case.lists
    case.lists.factor = None if broken == "factor" else case.lists.factor
    case.level = None if broken == "level" else case.level
    value, second, sender, receiver, rating = map(case.tables.get, NAMES)
    slope = -1.0 if broken == "slope" else SLOPE
    with pytest.raises(ValueError, match=broken):
        attention_sums(value, second, sender, receiver, rating, case.shift, case.lists, case.level, slope, True, LEVELS)
