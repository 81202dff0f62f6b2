"""A small vision transformer."""

from collections.abc import Sequence

from holdfast.data.optional import need
from holdfast.nets.features import Features, Output
from holdfast.nets.shapes import image, positive, probability
from holdfast.seeds import seeded


def vit(
    input_shape: Sequence[int],
    width: int = 64,
    depth: int = 4,
    patch: int = 4,
    head_dim: int = 16,
    heads: int | None = None,
    output: Output = "first",
    dropout: float = 0.0,
    seed: int = 0,
) -> Features:
    """Images (n, *input_shape) -> features (n, width).

    A `transformers.ViTModel` made from its configuration, without a download: patches become
    tokens, a class token joins them, positions are added and learned; `depth` blocks of attention
    and a feed-forward net of 4 width, each behind a layer norm; a last layer norm. Dosovitskiy et
    al., ICLR 2021. Needs the extra ``transformers``.

    Args:
        input_shape: (channels, height, width).
        width: of a token throughout.
        depth: number of blocks, each of two residual branches.
        patch: side of a patch in pixels.
        head_dim: width of an attention head, so that a wider net has more heads.
        heads: number of heads in place of `head_dim`, so that a wider net has wider ones; in a
            parametrization then give `base_head_dim`.
        output: see `Features`; the class token by default.
        dropout: rate after each branch, and of attention.
        seed: of the initial weights, those of transformers.

    Raises:
        TypeError, ValueError: a size that is no positive integer, an image that is not made of
            whole patches, a width that is not made of whole heads, a dropout rate outside [0, 1).
        ImportError: transformers is not installed.
    """
    channels, (height, breadth) = image(input_shape, "vit", lambda side: side)
    if height % positive("patch", patch) or breadth % patch:
        raise ValueError(
            f"patch must divide the sides of the images, {height} x {breadth}; got {patch}"
        )
    name, part = ("head_dim", head_dim) if heads is None else ("heads", heads)
    if positive("width", width) % positive(name, part):
        raise ValueError(f"{name} must divide width {width}, got {part}")
    transformers = need("transformers", "vit", "transformers")
    config = transformers.ViTConfig(
        hidden_size=width,
        num_hidden_layers=positive("depth", depth),
        num_attention_heads=heads or width // head_dim,
        intermediate_size=4 * width,
        hidden_dropout_prob=probability("dropout", dropout),
        attention_probs_dropout_prob=dropout,
        image_size=(height, breadth),
        patch_size=patch,
        num_channels=channels,
    )
    with seeded(seed, "net"):
        model = transformers.ViTModel(config, add_pooling_layer=False)
    return Features(model, output)
