import pytest
import torch
from shards import samples, streamed

from holdfast.starts import FeatureStatistics

X, Y = samples(80, 3, 5, seed=3)


def settled():
    """Statistics with all there can be: settled classes, others and a print."""
    found = streamed(X, Y, per_class=True, backbone="cafe")
    found.settle([1, 2])
    return found


@pytest.mark.parametrize("make", [settled, lambda: streamed(X, Y), lambda: FeatureStatistics(3)])
def test_files_hold_all_there_is(tmp_path, make):
    found = make()
    found.save(tmp_path / "deep" / "found.safetensors")
    again = FeatureStatistics.load(tmp_path / "deep" / "found.safetensors")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["found.safetensors"]
    for one, other in ((found, again), (found.update(X, Y + 9), again.update(X, Y + 9))):
        assert torch.equal(one.gram, other.gram)
        assert torch.equal(one.sums, other.sums)
        assert (one.classes, one.settled, one.backbone, one.batches, one.per_class) == (
            (other.classes, other.settled, other.backbone, other.batches, other.per_class)
        )
        assert torch.equal(one.moments().cross, other.moments().cross)


def test_state_is_a_copy_and_comes_back():
    found = settled()
    state = found.state_dict()
    again = FeatureStatistics(3, per_class=True)
    again.load_state_dict(state)
    again.update(X, Y + 9)
    assert found.total == 80
    assert torch.equal(state["counts"], found.counts)
    with pytest.raises(ValueError, match=r"width 3 and per_class=True.*have 4 and True"):
        FeatureStatistics(4, per_class=True).load_state_dict(state)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "found"
    settled().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(ValueError, match="cut short"):
        FeatureStatistics.load(path)
    path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    with pytest.raises(ValueError, match=r"damaged.*checksum"):
        FeatureStatistics.load(path)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(ValueError, match="holds no feature statistics"):
        FeatureStatistics.load(path)


def test_files_of_others_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "other")
    with pytest.raises(
        ValueError, match="no feature statistics of this version: its format is None"
    ):
        FeatureStatistics.load(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="no statistics at"):
        FeatureStatistics.load(tmp_path / "none")
