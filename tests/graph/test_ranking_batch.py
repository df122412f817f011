"""Steps, message dropout and negatives of ranking do not depend on the number of ranks."""

from __future__ import annotations

import pytest
import torch

from gnnrec import rng
from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions, slice_users
from gnnrec.graph.partition import partition
from gnnrec.graph.ranking_batch import NegativeSampler, RankingBatch, UserSteps
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.user_messages_reference import message_weights

MOVIES = 12


def interactions(liked: list[list[int]]) -> Interactions:
    counts = torch.tensor([len(movies) for movies in liked])
    movie = torch.tensor([movie for movies in liked for movie in movies], dtype=torch.int32)
    pointer = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    return Interactions(pointer, movie, torch.full((len(movie),), 5.0), torch.arange(len(movie)) * 3 + 1)


def some_users(count: int) -> list[list[int]]:
    """Returns the liked movies of users; every fifth user likes none."""
    generator = torch.Generator().manual_seed(1)
    return [
        sorted(torch.randperm(MOVIES, generator=generator)[: 1 + user % 4].tolist()) if user % 5 else []
        for user in range(count)
    ]


def batch_of(chosen: Interactions) -> RankingBatch:
    lists = CSRLists(chosen.user_ptr, chosen.movie, MOVIES)
    return RankingBatch(lists, torch.ones(chosen.num_edges), torch.ones(chosen.num_users))


def test_lists_by_movie_have_the_same_pairs():
    lists = batch_of(interactions(some_users(9))).lists
    by_user = set(zip(lists.owner.tolist(), lists.entry.tolist()))
    pointer, user, _ = lists.by_column
    movie = torch.repeat_interleave(torch.arange(MOVIES), pointer.diff())
    assert set(zip(user.tolist(), movie.tolist())) == by_user and len(by_user) == lists.entry.numel()


@pytest.mark.parametrize("users_a_step", [0, 7, 20, 1000])
def test_every_user_with_liked_movies_is_in_one_step_per_epoch(users_a_step):
    liked = interactions(some_users(60))
    steps = UserSteps(liked, partition([0, 25, 60], 0, 1), World(), 3, users_a_step)
    assert steps.num_users == 48
    assert steps.steps_an_epoch == (1 if users_a_step in (0, 1000) else -(-48 // users_a_step))
    actual = [steps.step(0, index) for index in range(steps.steps_an_epoch)]
    assert [step.index for step in actual] == list(range(steps.steps_an_epoch))
    users = torch.cat([step.seeds for step in actual])
    assert sorted(users.tolist()) == [user for user in range(60) if user % 5]
    assert sum(step.num_targets for step in actual) == liked.num_edges
    assert max(len(step.seeds) for step in actual) <= 2 * steps.users_a_step


def test_steps_do_not_depend_on_the_partition():
    liked, shards = some_users(60), [0, 11, 25, 47, 60]
    whole = UserSteps(interactions(liked), partition(shards, 0, 1), World(), 3, 9)
    for rank in range(2):
        part = partition(shards, rank, 2)
        own = UserSteps(interactions(liked[part.start : part.stop]), part, World(), 3, 9)
        own.steps_an_epoch = whole.steps_an_epoch  # otherwise computed from this rank's users only
        for index in range(whole.steps_an_epoch):
            mine, all_of_them = own.step(1, index), whole.step(1, index)
            expected = [user for user in all_of_them.seeds.tolist() if part.start <= user < part.stop]
            assert (mine.seeds + part.start).tolist() == expected


def test_epochs_shuffle_users_differently():
    steps = UserSteps(interactions(some_users(60)), partition([0, 60], 0, 1), World(), 3, 9)
    first, second = (steps.step(epoch, 0).seeds.tolist() for epoch in (0, 1))
    assert first != second


def test_messages_are_dropped_by_edge_and_keep_their_mean():
    edges = torch.arange(40_000)
    weight = message_weights(5, edges, 0.3, torch.float64)
    assert set(weight.tolist()) == {0.0, 1 / 0.7}
    assert weight.mean().item() == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(message_weights(5, edges[77:99], 0.3, torch.float64), weight[77:99])
    assert (message_weights(6, edges, 0.3, torch.float64) != weight).any()
    assert (message_weights(5, edges, 0.0, torch.float64) == 1).all()


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_negatives_follow_popularity(power):
    popularity = torch.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 10, 0])
    liked = interactions([[0]] * 3000)
    batch = batch_of(liked)
    sampler = NegativeSampler(popularity, power, 20)
    sampler.add_to(batch, 3, liked.edge_id)
    expected = torch.where(popularity > 0, popularity.double() ** power, 0.0)
    torch.testing.assert_close(sampler.share, expected / expected.sum())
    expected[0] = 0  # liked by all users
    actual = torch.bincount(batch.negatives.flatten(), minlength=MOVIES).double() / batch.negatives.numel()
    torch.testing.assert_close(actual, expected / expected.sum(), atol=0.006, rtol=0)
    torch.testing.assert_close(batch.negative_share, sampler.share[batch.negatives.long()].float())


def test_negatives_are_not_liked_and_do_not_depend_on_the_batch():
    liked = interactions(some_users(40))
    popularity = torch.bincount(liked.movie, minlength=MOVIES)
    sampler, whole = NegativeSampler(popularity, 0.5, 6, attempts=60), batch_of(liked)
    sampler.add_to(whole, 9, liked.edge_id)
    assert (whole.negative_weight == 1).all()
    for user, movies in enumerate(some_users(40)):
        edges = slice(int(liked.user_ptr[user]), int(liked.user_ptr[user + 1]))
        assert not set(movies) & set(whole.negatives[edges].flatten().tolist())
    users = torch.tensor([3, 17, 21])
    part = batch_of(slice_users(liked, users))
    sampler.add_to(part, 9, slice_users(liked, users).edge_id)
    positions = torch.cat([torch.arange(int(liked.user_ptr[u]), int(liked.user_ptr[u + 1])) for u in users])
    assert torch.equal(part.negatives, whole.negatives[positions])


def test_negatives_of_a_user_who_likes_all_movies_have_weight_zero():
    liked = interactions([list(range(MOVIES)), [2]])
    batch = batch_of(liked)
    NegativeSampler(torch.ones(MOVIES), 1.0, 3).add_to(batch, rng.key("x"), liked.edge_id)
    assert (batch.negative_weight[:MOVIES] == 0).all() and (batch.negative_weight[MOVIES:] == 1).all()
