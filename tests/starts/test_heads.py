"""Every kind of linear head, read and written as the function of its rows."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from holdfast.nets.heads import GrowingHead, Head, SharedHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.nets.scaled import Readout, ScaledProjection, Scaling, scale
from holdfast.starts.heads import linear_head

WIDTH, OLD = 4, 3


class Pool(nn.Module):
    """A head inside a model, as timm has it: it counts the classes too."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.num_classes = classes
        self.fc = nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean(1))


class Timm(nn.Module):
    """Follows timm's protocol: num_classes, get_classifier, and a head inside."""

    def __init__(self, classes: int = OLD, last: nn.Module | None = None) -> None:
        super().__init__()
        self.num_classes = classes
        self.stem = nn.Linear(2, WIDTH)
        self.head = Pool(classes)
        self.last = last

    def get_classifier(self) -> nn.Module:
        return self.head.fc if self.last is None else self.last

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x))


def scaled() -> nn.Linear:
    layer = nn.Linear(WIDTH, OLD)
    scale(layer, 0.25, Scaling("mup", {"weight": "readout", "bias": "offset"}, std=2.0))
    return layer


def growing(multiplier: float = 1.0) -> GrowingHead:
    head = GrowingHead(WIDTH)
    head.readout = Readout(multiplier, None if multiplier == 1 else 2.0)
    head.accommodate(0, [7, 5, 9], torch.Generator().manual_seed(0))
    return head


def per_task() -> TaskHeads:
    head = TaskHeads(WIDTH)
    head.accommodate(2, [7, 5, 9])
    return head


HEADS = {
    "linear": (lambda: nn.Linear(WIDTH, OLD), None),
    "no bias": (lambda: nn.Linear(WIDTH, OLD, bias=False), None),
    "float64": (lambda: nn.Linear(WIDTH, OLD).double(), None),
    "scaled": (scaled, None),
    "growing": (growing, None),
    "growing, scaled": (lambda: growing(0.5), None),
    "shared": (lambda: SharedHead(WIDTH, [7, 5, 9]), None),
    "per task": (per_task, 2),
}


@pytest.mark.parametrize("name", HEADS)
def test_rows_are_the_function_and_writing_adds_to_it(name: str) -> None:
    make, task = HEADS[name]
    module = make()
    head = linear_head(module, task=task)
    h = torch.randn(6, WIDTH).to(head.weight.dtype)

    def logits() -> Tensor:
        return module(h, task) if isinstance(module, Head) else module(h)

    rows = head.rows()
    before = logits()
    close = {"rtol": 1e-5, "atol": 1e-6}
    expected = h.double() @ rows[:, :-1].T + rows[:, -1]
    torch.testing.assert_close(before.double(), expected, **close)
    new = (10, 12) if head.named is not None else (3, 4)
    assert head.places(new) == (3, 4)
    wanted = torch.randn(2, WIDTH + 1).double()
    if head.bias is None:
        wanted[:, -1] = 0
    replaced = head.write({3: wanted[0], 4: wanted[1]}, {3: new[0], 4: new[1]})
    after = logits()
    torch.testing.assert_close(after[:, :OLD], before, **close)
    expected = h.double() @ wanted[:, :-1].T + wanted[:, -1]
    torch.testing.assert_close(after[:, OLD:].double(), expected, **close)
    assert torch.equal(linear_head(module, task=task).rows()[:OLD], rows)
    assert [len(r.after) for r in replaced] == [5] * (1 if head.bias is None else 2)
    layer = linear_head(module, task=task).layer
    assert getattr(layer, "out_features", 5) == 5
    if isinstance(module, Head):
        index = task or 0
        assert module.columns(torch.tensor([12, 7]), index).tolist() == [4, 0]
        assert linear_head(module, task=task).labels == (7, 5, 9, 10, 12)


def test_parameters_keep_type_and_whether_they_are_trained() -> None:
    layer = nn.Linear(WIDTH, OLD).half()
    assert layer.bias is not None
    layer.bias.requires_grad_(False)
    linear_head(layer).write({3: torch.ones(WIDTH + 1).double()}, {3: 3})
    assert layer.weight.dtype == torch.float16
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad


def test_drawn_rows_are_those_of_the_head() -> None:
    drawn = linear_head(growing(0.5)).draw(4000, torch.Generator().manual_seed(0))
    assert drawn[:, :-1].std().item() == pytest.approx(0.5 * 2.0, rel=0.05)
    assert (drawn[:, -1] == 0).all()
    drawn = linear_head(nn.Linear(WIDTH, OLD)).draw(4000, torch.Generator().manual_seed(0))
    assert drawn.abs().max() <= 0.5 < drawn.abs().max() + 0.01
    bare = linear_head(nn.Linear(WIDTH, OLD, bias=False)).draw(2, torch.Generator())
    assert (bare[:, -1] == 0).all()


def test_spare_rows_come_first() -> None:
    layer = nn.Linear(WIDTH, OLD)
    head = linear_head(layer, [4, None, 8])
    assert head.places([2, 6, 1]) == (1, 3, 4)
    weight, bits = layer.weight, layer.weight.detach().clone()
    (of_weight, _) = head.write({1: torch.ones(WIDTH + 1).double()}, {1: 2})
    assert layer.weight is weight is of_weight.before is of_weight.after
    assert of_weight.fresh == (1,)
    assert torch.equal(layer.weight[[0, 2]], bits[[0, 2]])
    assert (layer.weight[1] == 1).all()
    assert linear_head(layer, [4, -1, -1]).labels == (4, None, None)


def test_a_named_spare_row_is_kept_for_its_class() -> None:
    shared = SharedHead(WIDTH, [7, 5, 9])
    head = linear_head(shared, [7, None, None])
    assert head.places([9, 11]) == (2, 3)
    row = torch.ones(WIDTH + 1).double()
    head.write({2: row, 3: row}, {2: 9, 3: 11})
    assert shared.known.tolist() == [7, 5, 9, 11]
    with pytest.raises(ValueError, match=r"must agree with the head's own \[7, 5, 9, 11\]"):
        linear_head(shared, [7, None, None, 12])


@pytest.mark.parametrize(
    ("classes", "new", "match"),
    [
        (None, [2, 3], r"already has classes \[2\]; if these rows are spare"),
        (None, [3, 5], "must be 3 to 4, the numbers of the next rows"),
        (None, [5], "must be 3, the numbers"),
        (None, [], "one or more different labels"),
        (None, [3, 3], "one or more different labels"),
        ([4, None, 8], [-2], "one or more different labels"),
        ([4, 5], [9], "the label of each of the 3 rows.*got 2: which rows are spare"),
        ([4, 4, 5], [9], "must be different labels"),
        ([4, -3, 5], [9], "must be different labels"),
        ([4, None, 8], [8], r"already has classes \[8\]"),
    ],
)
def test_classes_that_do_not_fit(classes: list[int | None] | None, new: list[int], match: str):
    with pytest.raises(ValueError, match=match):
        linear_head(nn.Linear(WIDTH, OLD), classes).places(new)


class Own(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).exp()


def test_other_modules_are_refused() -> None:
    def projection() -> nn.Module:
        layer = nn.modules.linear.NonDynamicallyQuantizableLinear(WIDTH, OLD)
        scale(layer, 0.5, Scaling("mup", {}), read=True)
        assert isinstance(layer, ScaledProjection)
        return layer

    for head, match in (
        (nn.Conv1d(4, 3, 1), r"one of: torch.nn.Linear; GrowingHead.*got torch.*Conv1d"),
        (nn.Sequential(nn.Linear(4, 3)), "got .*Sequential"),
        (nn.Bilinear(2, 2, 3), "got .*Bilinear"),
        (Own(4, 3), "Own, which computes otherwise"),
        (projection(), "which computes otherwise|computed from other parameters"),
        (parametrizations.weight_norm(nn.Linear(4, 3)), "computed from other parameters"),
        (parametrizations.orthogonal(nn.Linear(4, 3)), "remove the parametrization"),
        (nn.Linear(4, 3, device="meta"), "holds no floats to read"),
        (SharedHead(4, 3), "regression outputs"),
        (Timm(last=nn.Identity()), "get_classifier.. of Timm must be a torch.nn.Linear, got Ident"),
    ):
        with pytest.raises(TypeError, match=match):
            linear_head(head)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_layer_is_refused() -> None:
    with pytest.raises(TypeError, match="has no weight yet; pass a batch"):
        linear_head(nn.LazyLinear(3))


def test_task_heads_need_their_task() -> None:
    with pytest.raises(ValueError, match=r"task must name the head of TaskHeads, those of \[2\]"):
        linear_head(per_task())
    with pytest.raises(ValueError, match=r"task 1 has no head yet.*accommodate\(1, classes\)"):
        linear_head(per_task(), task=1)
    with pytest.raises(ValueError, match=r"task is for TaskHeads; .*Linear is the same"):
        linear_head(nn.Linear(4, 3), task=1)


def test_mixed_batches_see_a_grown_task_head() -> None:
    heads = per_task()
    heads.accommodate(4, [1])
    linear_head(heads, task=4).write({1: torch.ones(WIDTH + 1).double()}, {1: 2})
    h = torch.randn(2, WIDTH)
    mixed = heads(h, torch.tensor([4, 2]))
    torch.testing.assert_close(mixed[0, :2], heads(h, 4)[0])
    torch.testing.assert_close(mixed[0, 1], h[0].sum() + 1)


def test_learners_and_what_shares_their_weight() -> None:
    learner = Learner(nn.Linear(2, WIDTH), growing())
    assert linear_head(learner).layer is learner.heads
    tied = nn.Linear(2, WIDTH)
    backbone = nn.Sequential(tied)
    learner = Learner(backbone, growing())
    backbone.register_module("copy", nn.Linear(WIDTH, OLD))
    backbone.copy.weight = learner.heads.weight
    with pytest.raises(TypeError, match=r"shares its parameter with backbone.copy.weight"):
        linear_head(learner)


def test_timm_models_count_their_classes() -> None:
    model = Timm()
    layer = model.get_classifier()
    linear_head(model).write({3: torch.zeros(WIDTH + 1).double()}, {3: 3})
    assert model.get_classifier() is layer
    assert model.num_classes == model.head.num_classes == 4
    assert model(torch.randn(2, 3, 2)).shape == (2, 4)


def test_a_plain_module_with_the_last_layer_of_a_model_is_told_apart() -> None:
    with pytest.raises(TypeError, match=r"got .*Pool"):
        linear_head(Pool(3))
