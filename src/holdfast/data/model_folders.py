"""Where the files of a pretrained model lie: a folder, or what the Hugging Face hub keeps here."""

from pathlib import Path

from holdfast.data.optional import need

# what neither sentence-transformers nor transformers reads under torch
_OTHER_FORMATS = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.ot", "*.msgpack", "*.tflite"]


def find(model: str | Path, revision: str | None = None, extra: str = "text") -> Path:
    """The folder of a model, fetched from the hub where it is not on this machine.

    Args:
        model: a folder, or ``owner/model`` on the hub.
        revision: branch, tag or commit on the hub; its main branch by default. One that is here
            already is taken without a look whether the hub has a newer one.
        extra: of Holdfast, that installs the client of the hub.

    Raises:
        FileNotFoundError: it is neither a folder nor on this machine, and cannot be fetched.
        ValueError: `model` can be no name of a model, or a revision of a folder is asked for.
        ImportError: the client of the hub is not installed.
    """
    folder = Path(model)
    if folder.is_dir():
        if revision is not None:
            raise ValueError(
                f"model={str(model)!r} is a folder, which has no revision {revision!r}"
            )
        return folder
    if str(model).count("/") != 1 or folder.is_absolute() or str(model).startswith((".", "~")):
        raise FileNotFoundError(
            f"model={str(model)!r} is no folder on this machine (and no 'owner/model' of the hub)"
        )
    hub = need("huggingface_hub", f"finding the model {model}", extra)
    failures = (OSError, hub.errors.HfHubHTTPError)
    for here in (True, False):
        try:
            found = hub.snapshot_download(
                str(model),
                revision=revision,
                local_files_only=here,
                ignore_patterns=_OTHER_FORMATS,
            )
        except hub.errors.HFValidationError as error:
            raise ValueError(f"model={str(model)!r} can be no model of the hub: {error}") from error
        except failures as error:
            why = error
        else:
            return Path(found)
    raise FileNotFoundError(
        f"the model {str(model)!r} is not on this machine and cannot be fetched: "
        f"{str(why).splitlines()[0]}. Load it once with internet access, or name a folder that "
        "holds it"
    ) from why
