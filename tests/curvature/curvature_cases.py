"""Models whose Fisher information is checked, and the slow loop it is checked against."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from holdfast.nets.heads import GrowingHead, SharedHead, TaskHeads
from holdfast.nets.learner import Learner

SAMPLES = 6
CLASSES = 4


def images(channels: int = 4, side: int = 6) -> Tensor:
    return torch.randn(SAMPLES, channels, side, side, dtype=torch.float64)


def vectors(width: int = 5) -> Tensor:
    return torch.randn(SAMPLES, width, dtype=torch.float64)


def sequences(length: int = 3, width: int = 5) -> Tensor:
    return torch.randn(SAMPLES, length, width, dtype=torch.float64)


def tokens() -> Tensor:
    # Few tokens, so that samples repeat them; 0 is the padding.
    return torch.randint(0, 5, (SAMPLES, 7))


class Mean(nn.Module):
    """Mean over the positions of a sequence (n, t, d)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1)


class Custom(nn.Module):
    """Layers, and the function that calls them."""

    def __init__(self, function: Callable[["Custom", Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def mlp(activation: type[nn.Module] = nn.Tanh, bias: bool = True, **options: bool) -> nn.Module:
    hidden = nn.Linear(5, 7, bias=bias)
    return nn.Sequential(hidden, activation(**options), nn.Linear(7, CLASSES, bias=bias))


def conv(outputs: int, kernel: int | tuple[int, int] = 3, **options: object) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(4, outputs, kernel, **options),  # type: ignore[arg-type]
        nn.Tanh(),
        nn.Flatten(),
        nn.LazyLinear(CLASSES),
    )


def normed(norm: nn.Module) -> nn.Module:
    for name, buffer in norm.named_buffers():
        if name.startswith("running"):
            buffer.uniform_(0.5, 2.0)
    for p in norm.parameters():
        nn.init.normal_(p)
    return nn.Sequential(nn.Conv2d(4, 4, 3), norm, nn.Tanh(), nn.Flatten(), nn.Linear(64, CLASSES))


def conv1d() -> nn.Module:
    first = nn.Conv1d(3, 6, 2, stride=2, padding=2, dilation=2, groups=3)
    second = nn.Conv1d(6, 4, 3, padding="same", bias=False)
    return nn.Sequential(
        first, nn.Tanh(), second, nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(16, 4)
    )


def conv3d() -> nn.Module:
    layer = nn.Conv3d(1, 2, (1, 2, 3), stride=(1, 2, 1), padding=(0, 1, 0))
    return nn.Sequential(nn.Unflatten(1, (1, 4)), layer, nn.Tanh(), nn.Flatten(), nn.LazyLinear(4))


def text() -> nn.Module:
    return nn.Sequential(
        nn.Embedding(5, 6, padding_idx=0), nn.LayerNorm(6), nn.Linear(6, 5), Mean(), mlp()
    )


def sequence_first(m: Custom, x: Tensor) -> Tensor:
    # As many positions as samples: shapes alone cannot tell the two apart.
    return m.get_submodule("layer")(x.transpose(0, 1)).tanh().mean(dim=0)


def flattened_positions(m: Custom, x: Tensor) -> Tensor:
    hidden = m.get_submodule("layer")(x.reshape(-1, x.shape[-1])).tanh()
    return hidden.view(*x.shape[:2], -1).mean(dim=1)


def tied_layers() -> nn.Module:
    net = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, CLASSES))
    net[2].weight = net[0].weight
    return net


def tied_embedding(m: Custom, x: Tensor) -> Tensor:
    embedding = m.get_submodule("layer")
    assert isinstance(embedding, nn.Embedding)
    return nn.functional.linear(embedding(x).tanh().mean(dim=1), embedding.weight[:CLASSES])


def used_twice(m: Custom, x: Tensor) -> Tensor:
    inner, last = m.get_submodule("inner"), m.get_submodule("last")
    return last(inner(inner(x).tanh()).tanh())


def activated_twice(m: Custom, x: Tensor) -> Tensor:
    act, last = m.get_submodule("act"), m.get_submodule("last")
    return last(act(act(x) - 1))


class Raw(nn.Module):
    """A parameter of no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(5))
        self.layer = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer((x * self.scale).tanh())


def attention(m: Custom, x: Tensor) -> Tensor:
    layer = m.get_submodule("layer")
    return m.get_submodule("last")(layer(x, x, x)[0].mean(dim=1))


def choosy(m: Custom, x: Tensor) -> Tensor:
    # Looks at values, which vmap cannot follow; the layer is called once for each sample.
    layer = m.get_submodule("layer")
    return torch.cat([layer(row if row.sum() > 0 else -row) for row in x.split(1)])


def growing() -> nn.Module:
    head = GrowingHead(7)
    for index, classes in enumerate(((3, 1), (0, 2))):
        head.accommodate(index, classes)
    return Learner(nn.Sequential(nn.Linear(5, 7), nn.Tanh()), head)


def task_heads() -> nn.Module:
    heads = TaskHeads(7)
    heads.accommodate(0, (0, 1))
    heads.accommodate(1, (2, 3, 4, 5))
    heads.accommodate(3, (6, 7, 8))
    return Learner(nn.Sequential(Raw(), nn.Linear(CLASSES, 7), nn.Tanh()), heads)


@dataclass(frozen=True)
class Case:
    """A model and the inputs it takes; `closed` where rules must cover every parameter."""

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Tensor]
    closed: bool = True
    task: int | tuple[int, ...] | None = None

    def __str__(self) -> str:
        return self.name

    def make(self, dtype: torch.dtype) -> tuple[nn.Module, Tensor, Tensor, int | Tensor | None]:
        """Model, inputs, labels and tasks, the same numbers for every dtype."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, x = self.build().double().eval(), self.inputs()
            task = torch.tensor(self.task) if isinstance(self.task, tuple) else self.task
            logits = model(x) if task is None else model(x, task)
            y = torch.multinomial(logits.detach().softmax(dim=1), 1).squeeze(1)
        return model.to(dtype), x.to(dtype) if x.is_floating_point() else x, y, task


CASES = [
    Case("mlp", mlp, vectors),
    Case("mlp without bias", partial(mlp, bias=False), vectors),
    Case("in-place activation", partial(mlp, nn.ReLU, inplace=True), vectors),
    Case("stride", partial(conv, 4, stride=2), images),
    Case("groups", partial(conv, 8, groups=2, padding=(1, 0), bias=False), images),
    Case("depthwise", partial(conv, 4, groups=4, padding="same", dilation=(1, 2)), images),
    Case("dilation", partial(conv, 4, dilation=2, padding="valid"), images),
    Case("circular", partial(conv, 4, padding=(2, 1), padding_mode="circular"), images),
    Case("reflect", partial(conv, 4, (2, 3), padding="same", padding_mode="reflect"), images),
    Case("1d", conv1d, partial(sequences, 3, 5)),
    Case("3d", conv3d, images),
    Case("batch norm", lambda: normed(nn.BatchNorm2d(4)), images),
    Case("group norm", lambda: normed(nn.GroupNorm(2, 4)), images),
    Case("layer norm", lambda: normed(nn.LayerNorm((4, 4, 4))), images),
    Case("norm of vectors", lambda: nn.Sequential(nn.BatchNorm1d(5), mlp()), vectors),
    Case("text", text, tokens),
    Case("sequence", lambda: nn.Sequential(nn.Linear(5, 5), nn.Tanh(), Mean(), mlp()), sequences),
    Case("prelu", lambda: mlp(nn.PReLU), vectors),
    Case("prelu of channels", lambda: conv(4)[:1].append(nn.PReLU(4)).extend(conv(4)[2:]), images),
    Case(
        "prelu called twice",
        lambda: Custom(activated_twice, act=nn.PReLU(), last=nn.Linear(5, CLASSES)),
        vectors,
        closed=False,
    ),
    Case("growing head", growing, vectors),
    Case("one task", task_heads, vectors, closed=False, task=1),
    Case("mixed tasks", task_heads, vectors, closed=False, task=(1, 0, 1, 1, 0, 1)),
    Case(
        "shared head",
        lambda: Learner(mlp(), SharedHead(CLASSES, range(CLASSES))),
        vectors,
    ),
    Case(
        "sequence first",
        lambda: Custom(sequence_first, layer=nn.Linear(5, CLASSES)),
        partial(sequences, SAMPLES),
        closed=False,
    ),
    Case(
        "two positions first",
        lambda: Custom(sequence_first, layer=nn.Linear(5, CLASSES)),
        partial(sequences, 2),
        closed=False,
    ),
    Case(
        "flattened positions",
        lambda: Custom(flattened_positions, layer=nn.Linear(5, CLASSES)),
        sequences,
        closed=False,
    ),
    Case("tied layers", tied_layers, vectors, closed=False),
    Case(
        "tied embedding",
        lambda: Custom(tied_embedding, layer=nn.Embedding(5, 6)),
        tokens,
        closed=False,
    ),
    Case(
        "used twice",
        lambda: Custom(used_twice, inner=nn.Linear(5, 5), last=nn.Linear(5, CLASSES)),
        vectors,
        closed=False,
    ),
    Case("raw parameter", Raw, vectors, closed=False),
    Case(
        "parametrized",
        lambda: nn.Sequential(weight_norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, CLASSES)),
        vectors,
        closed=False,
    ),
    Case(
        "attention",
        lambda: Custom(
            attention,
            layer=nn.MultiheadAttention(6, 2, batch_first=True),
            last=nn.Linear(6, CLASSES),
        ),
        partial(sequences, 3, 6),
        closed=False,
    ),
    Case(
        "transformer",
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), Mean(), nn.Linear(6, CLASSES)
        ),
        partial(sequences, 3, 6),
        closed=False,
    ),
    Case("control flow", lambda: Custom(choosy, layer=nn.Linear(5, 4)), vectors, closed=False),
]


def loop(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    task: int | Tensor | None = None,
    kind: str = "empirical",
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
) -> dict[str, Tensor]:
    """Mean over samples of squared gradients of the loss, one sample and one label at a time."""
    named = dict(model.named_parameters())
    total = {name: torch.zeros_like(p) for name, p in named.items()}
    for i in range(len(x)):
        own = task[i : i + 1] if isinstance(task, Tensor) else task
        logits = model(x[i : i + 1]) if task is None else model(x[i : i + 1], own)
        p = logits.detach().softmax(dim=1)[0]
        if kind == "true":
            terms = [(p[c], torch.tensor([c])) for c in range(len(p)) if p[c] > 0]
        else:
            weight = p[y[i]] if kind == "weighted" else torch.tensor(1.0)
            terms = [(weight, y[i : i + 1])]
        for weight, label in terms:
            gradients = torch.autograd.grad(
                loss(logits, label), list(named.values()), retain_graph=True, allow_unused=True
            )
            for name, g in zip(named, gradients, strict=True):
                if g is not None:
                    total[name] += weight * g.square() / len(x)
    return total


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], relative: float) -> None:
    """Each tensor within `relative` of the expected one, entries compared at its scale."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = float(value.abs().max()) if value.numel() else 0.0
        torch.testing.assert_close(
            found[name],
            value,
            rtol=relative,
            atol=relative * scale,
            msg=lambda m, n=name: f"{n}: {m}",
        )
