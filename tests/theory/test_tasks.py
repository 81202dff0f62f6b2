import pytest
import torch

from holdfast.theory import gaussian_tasks, permuted_tasks


@pytest.mark.parametrize("similarity", [0.0, 0.3, 1.0])
def test_gaussian_kernels_are_1_within_a_task_and_the_similarity_between(similarity):
    (a, b, c), _ = gaussian_tasks(20, 40_000, similarity, tasks=3)
    eye = torch.eye(20, dtype=torch.float64)
    for x in (a, b, c):
        assert torch.allclose(x @ x.T / 40_000, eye, atol=0.03)
    assert torch.allclose(a @ b.T / 40_000, similarity * eye, atol=0.03)
    assert torch.allclose(b @ c.T / 40_000, similarity**2 * eye, atol=0.03)


def test_targets_are_of_two_levels_evenly_and_the_same_in_all_tasks_or_drawn_for_each():
    _, same = gaussian_tasks(11, 3, levels=(0.0, 2.0))
    assert torch.equal(same[0], same[1])
    assert sorted(same[0].tolist()) == [0.0] * 6 + [2.0] * 5
    _, own = gaussian_tasks(11, 3, targets="independent")
    assert not torch.equal(own[0], own[1])
    assert set(own[1].tolist()) == {-1.0, 1.0}


def test_another_seed_draws_anew_and_the_similarity_changes_no_draw():
    first = gaussian_tasks(4, 3, 0.5, seed=1)[0]
    assert torch.equal(first[0], gaussian_tasks(4, 3, 0.9, seed=1)[0][0])
    assert not torch.allclose(first[0], gaussian_tasks(4, 3, 0.5, seed=2)[0][0])


@pytest.mark.parametrize("similarity", [0.0, 0.37, 1.0])
def test_permuted_features_are_the_same_ones_with_a_fraction_in_place(similarity):
    x, y = torch.arange(200.0).expand(3, 200) + torch.tensor([[0.0], [1e3], [2e3]]), torch.ones(3)
    (first, second, third), targets = permuted_tasks(x, y, similarity, tasks=3)
    assert torch.equal(first, x)
    assert all(t is y for t in targets)
    for other in (second, third):
        assert torch.equal(other.sort(1).values, x)
        assert torch.equal(other[1] - other[0], torch.full((200,), 1e3))
    kept = round(similarity * 200)
    stays = (second[0] == x[0]) & (third[0] == x[0])
    assert kept <= int(stays.sum()) <= kept + 5
    assert torch.equal(second, third) == (similarity == 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gaussian_tasks(0, 3), "points must be a positive integer, got 0"),
        (lambda: gaussian_tasks(3, -1), "features must be a positive integer, got -1"),
        (lambda: gaussian_tasks(3, 3, tasks=0), "tasks must be a positive integer, got 0"),
        (lambda: gaussian_tasks(3, 3, 1.1), r"similarity must lie in \[0, 1\], got 1.1"),
        (lambda: permuted_tasks(torch.ones(2, 2), torch.ones(2), -1.0), "similarity must lie in"),
        (lambda: permuted_tasks(torch.ones(2, 2), torch.ones(2), tasks=0), "tasks must be"),
    ],
)
def test_what_makes_no_tasks_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
