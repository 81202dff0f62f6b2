"""The datasets known by name: which columns they have and where the hub keeps them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """How the columns of a table make a dataset.

    Args:
        x: column of the samples: images, sentences or vectors.
        y: column of the class labels or of float targets.
        group: column of the coarse group of each sample's class.
        drop: classes left out, by name.
        alphabetical: number the classes in the order of their names, so that sources that number
            them differently agree.
        drawings: where not 0, all files hold different classes: they are pooled, and of each
            class the drawings numbered below this are for training, the others for testing.
        drawing: column of that number; without it, drawings count in the order of the file.
        edge: images become grey squares of this edge.
        invert: images show dark ink on bright ground and are inverted.
    """

    x: str
    y: str
    group: str | None = None
    drop: tuple[str, ...] = ()
    alphabetical: bool = False
    drawings: int = 0
    drawing: str | None = None
    edge: int | None = None
    invert: bool = False


@dataclass(frozen=True)
class Hub:
    """A dataset on the Hugging Face hub.

    Args:
        path: ``owner/dataset``.
        config: where it has several.
        layout: where its columns are not those of the folder.
        test: name of the split that is tested on.
    """

    path: str
    config: str | None = None
    layout: Layout | None = None
    test: str = "test"


@dataclass(frozen=True)
class Known:
    """A dataset known by name."""

    about: str
    folder: Layout
    hub: Hub | None = None


KNOWN: dict[str, Known] = {
    "mnist": Known(
        "handwritten digits, 28 x 28 grey (LeCun et al., 1998)",
        Layout("image", "label"),
        Hub("ylecun/mnist"),
    ),
    "fashion_mnist": Known(
        "articles of clothing, 28 x 28 grey (Xiao et al., 2017)",
        Layout("image", "label"),
        Hub("zalando-datasets/fashion_mnist"),
    ),
    # The uploads of notMNIST on the hub differ in size, split and cleaning, and one name must
    # mean one dataset; `Dataset.from_hub("owner/name")` loads any of them.
    "notmnist": Known(
        "letters A to J in many typefaces, 28 x 28 grey (Bulatov, 2011)",
        Layout("image", "label"),
    ),
    "cifar10": Known(
        "ten kinds of objects, 32 x 32 colour (Krizhevsky, 2009)",
        Layout("img", "label"),
        Hub("uoft-cs/cifar10"),
    ),
    "cifar100": Known(
        "100 kinds of objects in 20 superclasses, 32 x 32 colour (Krizhevsky, 2009)",
        Layout("img", "fine_label", group="coarse_label"),
        Hub("uoft-cs/cifar100"),
    ),
    "tiny_imagenet": Known(
        "200 kinds of objects, 64 x 64 colour (Stanford CS231n, 2015); the authors' validation "
        "images are for testing, since labels of their test images are not published",
        Layout("image", "label"),
        Hub("zh-plus/tiny-imagenet", test="valid"),
    ),
    "omniglot": Known(
        "1,623 characters of 50 alphabets, 28 x 28 grey (Lake et al., 2015); of the 20 drawings "
        "of each, 1 to 15 for training and 16 to 20 for testing (Yoon et al., 2020)",
        Layout("image", "character", group="alphabet", drawings=15, drawing="drawer"),
        Hub(
            "dpdl-benchmark/omniglot",
            layout=Layout("image", "label", group="alphabet", drawings=15, edge=28, invert=True),
        ),
    ),
    "clinc150": Known(
        "sentences of 150 intents in 10 domains, out-of-scope ones left out (Larson et al., 2019)",
        Layout("text", "intent", group="domain", drop=("oos",), alphabetical=True),
        # "plus" has all 100 training sentences an intent; the domains are not on the hub
        Hub(
            "clinc/clinc_oos",
            config="plus",
            layout=Layout("text", "intent", drop=("oos",), alphabetical=True),
        ),
    ),
}


def guess(columns: list[str], x: str | None, y: str | None, group: str | None) -> Layout:
    """The layout of a table of unknown name: the given columns, the usual names for the others.

    Raises:
        ValueError: a given column is not there, or no usual name is.
    """
    for role, column in (("x", x), ("y", y), ("group", group)):
        if column is not None and column not in columns:
            raise ValueError(f"{role}={column!r} is no column of the table; it has {columns}")
    usual_x = ("image", "img", "text", "sentence", "embedding", "features", "x")
    usual_y = ("label", "fine_label", "labels", "intent", "target", "class", "y")
    x = x or next((c for c in usual_x if c in columns), None)
    y = y or next((c for c in usual_y if c in columns), None)
    if x is None or y is None:
        lacking = "x" if x is None else "y"
        raise ValueError(f"name the column to use as {lacking}: {lacking}=...; it has {columns}")
    return Layout(x, y, group)
