"""What an adapted network computes for its tasks, what stays, and what is refused."""

import pytest
import torch
from adapted_network import adapted, batch, bits, network, same, train
from perturbed_cases import shake
from torch import nn

from holdfast.methods import halrp
from holdfast.starts.fingerprint import fingerprint

# -- what it computes


@pytest.mark.parametrize("conv", ["constant", "flat", "separable"])
def test_a_merged_task_computes_the_same(conv):
    model, x = adapted(conv=conv), batch()
    outputs = [model(x, t) for t in (0, 1)]
    assert (outputs[0] - outputs[1]).abs().max() > 0.1
    for t in (0, 1):
        plain = model.merge(t)
        assert not any(isinstance(m, halrp.Perturbed) for m in plain.modules())
        assert [type(m) for m in plain] == [type(m) for m in network()]
        assert torch.allclose(plain(x), outputs[t], rtol=0, atol=1e-12)
        shake(plain)  # and shares nothing
        assert torch.equal(model(x, t), outputs[t])
    assert torch.equal(model(x), network().eval()(x))
    assert same(bits(model.merge(None)), bits(network()))


def test_full_rank_is_the_free_network():
    model, x = adapted(0), batch()
    model.add_free("t")
    shake(nn.ParameterList(p for _, p in model.own("t")), by=0.3)
    free = model(x, "t")
    model.settle("t", halrp.decompositions(model, "t"), {"0": 4, "5": 6})
    assert torch.allclose(model(x, "t"), free, rtol=0, atol=1e-12)
    assert torch.allclose(model.merge("t")(x), free, rtol=0, atol=1e-12)


def test_ids_in_a_batch_are_one_task_after_the_other():
    model, x = adapted(3), batch(7)
    ids = torch.tensor([2, 0, 1, 0, 2, 2, 0])
    expected = torch.stack([model(x[i : i + 1], int(t))[0] for i, t in enumerate(ids)])
    assert torch.allclose(model(x, ids), expected, rtol=0, atol=1e-12)
    model(x, ids).square().sum().backward()
    assert model.model[5].tasks["2"].U.grad is not None


def test_activation_lasts_and_passes():
    model, x = adapted(), batch()
    one = model(x, 1)
    assert model.active is None
    assert torch.equal(model.activate(1)(x), one)
    with model.as_task(0):
        assert not torch.equal(model(x), one)
    assert torch.equal(model(x), one)
    assert model.active == "1"
    assert torch.equal(model.activate(None)(x), network().eval()(x))


# -- what stays


def test_nothing_of_the_base_or_of_other_tasks_moves():
    model, x = adapted(0), batch()
    base, learned = bits(network()), []
    for t in range(4):
        model.add(t, ranks=2)
        train(model, t)
        learned.append((bits(nn.ParameterDict(
            {n.replace(".", "_"): p for n, p in model.own(t)})), model(x, t)))  # fmt: skip
    for t, (parameters, outputs) in enumerate(learned):
        now = nn.ParameterDict({n.replace(".", "_"): p for n, p in model.own(t)})
        assert same(bits(now), parameters)
        assert torch.equal(model(x, t), outputs)
    assert same(bits(model.merge(None)), base)
    model.train()
    model(x)  # not even running statistics
    assert same(bits(model.merge(None)), base)
    before = model(x, 3)
    model.remove(1)
    assert torch.equal(model(x, 3), before)
    assert model.tasks == ("0", "2", "3")


def test_the_print_is_that_of_the_plain_model():
    model = adapted(2)
    assert model.fingerprint() == fingerprint(network())
    model.fold(1)
    assert model.fingerprint() == fingerprint(network())


def test_a_base_that_changed_is_refused():
    model = adapted()
    with torch.no_grad():
        model.model[5].base.weight[0, 0] += 1e-9
    for use in (lambda: model.merge(0), lambda: model.add(7), lambda: model.fold(1)):
        with pytest.raises(ValueError, match="base has changed since tasks \\['0', '1'\\]"):
            use()
    assert model.tasks == ("0", "1")
    with pytest.raises(ValueError, match="base cannot be trained: tasks"):
        model.train_only(None)


def test_the_base_may_change_until_a_task_rests_on_it():
    model = halrp.adapt(network(), heads=["8"], base_task="first")
    model.freeze()
    model.train_only("first")
    assert all(p.requires_grad for p in model.parameters())
    model.train()(batch())
    model.add("second")
    model.check_base()
    assert not any(p.requires_grad for p in model.base_parameters())
    with pytest.raises(ValueError, match="'first' is the base's own"):
        model.remove("first")


# -- folding


def test_folding_serves_one_task_and_leaves_the_others():
    model, x = adapted(), batch()
    expected, base = [model(x, t) for t in (0, 1)], model.fingerprint()
    assert torch.allclose(model.fold(1)(x), expected[1], rtol=0, atol=1e-12)
    assert torch.equal(model(x, 0), expected[0])
    with pytest.raises(ValueError, match="'1' is folded, and two tasks cannot be merged at once"):
        model.fold(0)
    with pytest.raises(ValueError, match="'1' is folded and cannot be trained; call unfold"):
        model.train_only(1)
    assert torch.equal(model.unfold()(x), expected[1])
    assert model.fingerprint() == base
    model.fold(0)
    model.remove(0)
    assert model.folded is None
    assert model.active is None
    model.fold(1)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"outputs": 0}, ValueError, "outputs must be a positive integer, got 0"),
        ({"seed": -1}, ValueError, "seed must be a non-negative integer, got -1"),
        ({"factor": float("nan")}, ValueError, "factor must be a number above 0, got nan"),
        ({"ranks": True}, TypeError, "ranks must be a whole number, got True"),
        ({"ranks": {"5": True}}, TypeError, "rank of 5 must be a whole number, got True"),
    ],
)
def test_a_refused_task_leaves_nothing(how, error, message):
    model = adapted(0)
    with pytest.raises(error, match=message):
        model.add("new", **how)
    assert model.tasks == ()
    assert all(p.requires_grad for p in model.parameters())
    assert not [n for n, _ in model.named_parameters() if ".tasks." in n]


def test_what_is_folded_is_neither_quantised_nor_pruned():
    model, x = adapted(), batch()
    model.fold(0)
    before = model(x)
    with pytest.raises(ValueError, match=r"'0' is folded and cannot be quantised; call unfold"):
        halrp.quantise(model, 0, "bfloat16")
    with pytest.raises(ValueError, match=r"'0' is folded and cannot be pruned; call unfold"):
        halrp.prune(model, halrp.Pruning(share=0.5))
    assert torch.allclose(model.unfold()(x), before, rtol=0, atol=1e-12)


def test_bad_tasks():
    model, x = adapted(), batch()
    before = bits(model)
    for name, message in {
        "1": "'1' is there already", "a.b": "without dots", "": "without dots", "keys": "attribute",
        "a\nb": "printable",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=message):
            model.add(name)
    with pytest.raises(TypeError, match="task must be a whole number or a name, got True"):
        model.add(True)
    for use in (model.activate, model.remove, model.merge, model.fold, model.train_only):
        with pytest.raises(ValueError, match=r"task 'no' is unknown; there are \['0', '1'\]"):
            use("no")
    with pytest.raises(ValueError, match="task 7 is unknown"):
        model(x, torch.tensor([0, 7, 0, 1, 0]))
    with pytest.raises(ValueError, match="vector of integers"):
        model(x, torch.zeros(5))
    for ids in ([0, 1], [0, 1, 0, 1, 0, 1]):
        with pytest.raises(ValueError, match=f"task names {len(ids)} samples, the inputs have 5"):
            model(x, torch.tensor(ids))
    with pytest.raises(ValueError, match="task 'no' is unknown"):
        model.add_free("new", beginning="no")
    with pytest.raises(ValueError, match="rank of 5 must be from 0 to 6, got 7"):
        model.add("new", {"5": 7})
    with pytest.raises(ValueError, match=r"ranks name layers \['x'\]"):
        model.add("new", {"x": 1})
    with pytest.raises(ValueError, match="ranks must be at least 0, got -1"):
        model.add("new", -1)
    assert same(bits(model), before)


def test_bad_settling():
    model = adapted()
    model.add_free("t")
    found = halrp.decompositions(model, "t")
    found["5"] = found["5"]._replace(values=found["5"].values[:2])
    with pytest.raises(ValueError, match="found holds 2 of its singular triplets"):
        model.settle("t", found, {"5": 3})
    with pytest.raises(ValueError, match=r"no decomposition of layers \['0'\]"):
        model.settle("t", {"5": found["5"]}, {"5": 1})
    model.fold("t")
    with pytest.raises(ValueError, match="'t' is folded and cannot be settled"):
        model.settle("t", found, {"5": 1})


def test_outputs_of_a_batch_of_several_tasks_must_agree():
    model, x = adapted(), batch(2)
    model.add(2, outputs=9)
    with pytest.raises(ValueError, match=r"different shapes, \(3,\) and \(9,\)"):
        model(x, torch.tensor([1, 2]))


def test_heads_are_drawn_from_the_seed():
    before = torch.random.get_rng_state()
    made = []
    for seed in (0, 0, 1):
        model = adapted(0)
        model.add("t", seed=seed)
        made.append(model.model[8].tasks["t"].weight)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
