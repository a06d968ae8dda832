"""The published code's result folders, both ways: read as data, written for the old notebooks."""

from __future__ import annotations

import json
import pickle
import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from torch import Tensor
from typer.testing import CliRunner, Result

from rosetta_ui.commands import published, results
from rosetta_ui.engine.engine import Engine
from rosetta_ui.errors import BadRequestError, StoreError, UnsafeFileError, WeightsCorruptError
from rosetta_ui.matching import answers
from rosetta_ui.matching.published_results import NOTE, import_published
from rosetta_ui.models.registry import Registry, build_registry
from rosetta_ui.models.tiny import tiny_cards
from rosetta_ui.models.weights import WeightStore
from rosetta_ui.settings import Settings
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.store.notebook_files import _integer
from rosetta_ui.store.published_export import NAMES, export_published
from rosetta_ui.types import MatchRequest, Selection, Unit
from tests.hostile.makers import CANARY, called, legacy, tensor
from tests.store.synthetic import neighbours_of

ROWS, COLS = (4, 6), (5, 7, 3)
PUBLISHED = Selection(score="published")


def statistics(channels: tuple[int, ...], seed: int) -> list[list[Tensor]]:
    """As the published code makes them: float64 means and float32 deviations, [1, C, 1, 1]."""
    stream = torch.Generator().manual_seed(seed)
    return [
        [
            torch.randn(1, c, 1, 1, generator=stream, dtype=torch.float64),
            torch.rand(1, c, 1, 1, generator=stream) + 0.1,
        ]
        for c in channels
    ]


def table(seed: int = 0, shape: tuple[int, int] = (sum(ROWS), sum(COLS))) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def content() -> dict[str, Any]:
    return {
        "table.pkl": table(),
        "gan_stats.pkl": statistics(ROWS, 1),
        "discr_stats.pkl": statistics(COLS, 2),
    }


def write(folder: Path, changed: dict[str, Any] | None = None, protocol: int = 4) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in {**content(), **(changed or {})}.items():
        data = value if isinstance(value, bytes) else pickle.dumps(value, protocol)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "published")


Import = Callable[..., ResultFolder]


@pytest.fixture
def bring(tmp_path: Path) -> Import:
    """Imports a folder with the catalogue's models known and no weights here."""
    weights = WeightStore(tmp_path / "cache")
    registry = build_registry(weights.added)

    def call(source: Path, generator: str = "their-gan", backbone: str = "their-net", images=0):
        request = MatchRequest(generator, (backbone,), images)
        return import_published(source, tmp_path / "out", request, registry, weights)

    return call


# In


def test_a_table_is_browsed_like_our_own(source: Path, bring: Import) -> None:
    folder = bring(source)
    scores = table().numpy()
    assert np.array_equal(folder.scores("their-gan", "their-net", "published"), scores)
    expected = neighbours_of(scores.astype(np.float64), 5)
    found = answers.pairs(folder, "their-net", Selection("mutual", 1, "published"))
    best = scores.argmax(1)
    mutual = [row for row in range(len(scores)) if scores[:, best[row]].argmax() == row]
    assert sorted(folder.index("their-gan").flat(anchor) for anchor, _ in found) == mutual
    for anchor, partner in found:
        row = folder.index("their-gan").flat(anchor)
        assert partner.unit == folder.index("their-net").unit(int(expected.row_index[row, 0]))
        assert partner.score == pytest.approx(float(expected.row_score[row, 0]))
    neurons = answers.neurons(folder, PUBLISHED)
    assert neurons
    assert all(neuron.concept == -1 for neuron in neurons)
    stats = folder.stats("their-net")
    assert stats is not None
    means = torch.cat([mean.flatten() for mean, _ in statistics(COLS, 2)])
    assert np.allclose(stats.mean, means.numpy())
    assert answers.pairs_csv(folder, PUBLISHED).count("\n") > 1


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", ["flat", "tuples", "float16", "double table"])
def test_every_form_of_the_files_opens(
    protocol: int, form: str, tmp_path: Path, bring: Import
) -> None:
    changed: dict[str, Any] = {}
    stats = statistics(ROWS, 1)
    if form == "flat":
        changed["gan_stats.pkl"] = [[mean.flatten(), std.flatten()] for mean, std in stats]
    elif form == "tuples":
        changed["gan_stats.pkl"] = tuple((mean, std) for mean, std in stats)
    elif form == "float16":
        changed["gan_stats.pkl"] = [[mean.half(), std.half()] for mean, std in stats]
    else:
        changed["table.pkl"] = table().double()
    folder = bring(write(tmp_path / "published", changed, protocol))
    assert [len(index) for index in folder.indexes().values()] == [sum(ROWS), sum(COLS)]


def test_tensors_from_a_gpu_open_here(tmp_path: Path, bring: Import) -> None:
    values = table()
    storage = legacy("FloatStorage", values.numel(), values.numpy().tobytes())  # says cuda:0
    assert b"cuda:0" in storage
    data = tensor(storage, 0, tuple(values.shape), values.stride())
    folder = bring(write(tmp_path / "published", {"table.pkl": data}))
    assert np.array_equal(folder.scores("their-gan", "their-net", "published"), values.numpy())


def test_units_that_never_vary_are_dead_and_never_match(tmp_path: Path, bring: Import) -> None:
    values = table()
    values[3] = 0  # NaN, which the published code replaces by 0
    values[:, 2] = torch.nan
    values[0, 0] = torch.nan  # of one batch, say
    gan, net = statistics(ROWS, 1), statistics(COLS, 2)
    gan[1][1][0, 5] = 0  # unit 9 never varies, and its scores are rounding noise
    net[0][1][0, 4] = torch.nan
    changed = {"table.pkl": values, "gan_stats.pkl": gan, "discr_stats.pkl": net}
    folder = bring(write(tmp_path / "published", changed))
    assert np.flatnonzero(folder.dead("their-gan", "published")).tolist() == [3, 9]
    assert np.flatnonzero(folder.dead("their-net", "published")).tolist() == [2, 4]
    scores = folder.scores("their-gan", "their-net", "published")
    assert np.isneginf(scores[[3, 9]]).all()
    assert np.isneginf(scores[:, [2, 4]]).all()
    assert scores[0, 0] == 0
    assert answers.summary(folder, "", PUBLISHED).anchor_dead == 2


def test_layers_of_known_models_have_their_names(tmp_path: Path, bring: Import) -> None:
    channels = (256, 512, 1024, 2048)
    changed = {
        "table.pkl": table(shape=(10, 3840)),
        "discr_stats.pkl": statistics(channels, 2),
    }
    source = write(tmp_path / "published", changed)
    folder = bring(source, backbone="resnet50")
    assert [spec.name for spec in folder.index("resnet50").layers] == [
        f"layer{stage}" for stage in (1, 2, 3, 4)
    ]
    assert folder.index("resnet50").layers[0].size == (56, 56)
    assert [spec.name for spec in folder.index("their-gan").layers] == ["layer0", "layer1"]
    assert folder.index("their-gan").unit(9) == Unit("their-gan", "layer1", 5)
    said = "'dino_vitb8' has layers of 3,072, 3,072.*the files have 256, 512, 1,024, 2,048"
    with pytest.raises(BadRequestError, match=said) as caught:
        bring(source, backbone="dino_vitb8")
    assert "dino_vitb8-published" in caught.value.hint
    with pytest.raises(BadRequestError, match="'biggan' has 23,296 units, but the files have 10"):
        bring(source, generator="biggan")


@pytest.mark.parametrize(
    ("generator", "backbone", "said"),
    [
        ("resnet50", "x", "'resnet50' is a backbone, but was given as the generator"),
        ("x", "biggan", "'biggan' is a generator, but was given as the backbone"),
        ("x", "x", "one generator and one backbone"),
        ("a/b", "x", "The name of the generator should be"),
        ("x", "a:b", "The name of the backbone should be"),
        ("x", "", "The name of the backbone should be"),
    ],
)
def test_names_that_cannot_be_used_are_refused(
    generator: str, backbone: str, said: str, source: Path, bring: Import
) -> None:
    with pytest.raises((BadRequestError, StoreError), match=said):
        bring(source, generator, backbone)


def test_a_name_with_markup_stays_text(source: Path, bring: Import) -> None:
    folder = bring(source, "<img onerror=alert(1)>")
    assert folder.anchor == "<img onerror=alert(1)>"
    assert folder.scores(folder.anchor, "their-net", "published") is not None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"table.pkl": [1, 2]}, "'table.pkl' holds a list, not a table"),
        ({"table.pkl": torch.rand(3)}, "holds a tensor of 3, not a table"),
        ({"table.pkl": torch.ones(10, 15, dtype=torch.int64)}, "not a table"),
        ({"table.pkl": torch.rand(0, 15)}, "is empty"),
        ({"table.pkl": 5 * table()}, "no table of correlations"),
        ({"table.pkl": torch.full((10, 15), torch.inf)}, "no table of correlations"),
        ({"table.pkl": table(shape=(11, 15))}, "describes 10 units, but 'table.pkl' has 11 rows"),
        ({"table.pkl": table(shape=(10, 16))}, "15 units, but 'table.pkl' has 16 columns"),
        ({"gan_stats.pkl": {"a": 1}}, "'gan_stats.pkl' holds a dict, not a list"),
        ({"gan_stats.pkl": b"\x80\x04]N0N0N0."}, "describes 0 units"),
        ({"gan_stats.pkl": [[torch.ones(10)]]}, "Layer 0 of 'gan_stats.pkl' is a list"),
        ({"gan_stats.pkl": [["mean", torch.ones(10)]]}, "holds a str, not one number a channel"),
        ({"discr_stats.pkl": [[torch.ones(3, 5), torch.ones(15)]]}, "a tensor of 3×5"),
        ({"discr_stats.pkl": [[torch.ones(14), torch.ones(15)]]}, "14 means, but 15 deviations"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    changed: dict[str, Any], said: str, tmp_path: Path, bring: Import
) -> None:
    with pytest.raises(StoreError, match=said):
        bring(write(tmp_path / "published", changed))
    assert not (tmp_path / "out" / "result.json").exists()


def test_missing_files_are_named(tmp_path: Path, source: Path, bring: Import) -> None:
    (source / "gan_stats.pkl").unlink()
    (source / "discr_stats.pkl").unlink()
    with pytest.raises(StoreError, match=r"no gan_stats\.pkl and no discr_stats\.pkl"):
        bring(source)
    with pytest.raises(StoreError, match="There is no folder"):
        bring(tmp_path / "nowhere")


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_folder_runs_nothing(
    name: str, source: Path, bring: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (source / name).write_bytes(called("os", "system", f"touch {CANARY}"))
    with pytest.raises(UnsafeFileError, match=name):
        bring(source)
    (source / name).write_bytes(pickle.dumps(content()[name])[:-20])
    with pytest.raises(WeightsCorruptError, match=name):
        bring(source)
    assert not (tmp_path / CANARY).exists()


# What is not in such a folder


def test_without_a_null_nothing_claims_to_have_one(source: Path, bring: Import) -> None:
    folder = bring(source)
    said = answers.summary(folder, "", PUBLISHED)
    assert (said.null_rosetta, said.rosetta_above_null) == (-1, 0)
    assert [t.null_best_buddies for t in said.tables] == [-1]
    assert np.isnan(said.threshold)
    for neuron in answers.neurons(folder, PUBLISHED):
        assert not neuron.above_null
        assert np.isnan(neuron.null_min)
    with pytest.raises(BadRequestError, match="no null: it was imported"):
        answers.neurons(folder, Selection(score="published", above_null=True))
    told = answers.report(folder, PUBLISHED)
    assert told["tables"]["their-net"]["null_pairs"] is None
    assert told["tables"]["their-net"]["halves"] is None
    assert folder.record.run.notes[0] == NOTE
    assert "not say how many images" in folder.record.run.notes[1]
    assert bring(source, images=64).record.run.notes == (NOTE,)


def test_the_engine_opens_it_without_pictures_and_maps(
    source: Path, bring: Import, tmp_path: Path
) -> None:
    result = str(bring(source).path)
    with Engine(Settings(cache_dir=tmp_path / "cache", device="cpu")) as engine:
        neurons = engine.neurons(result, PUBLISHED)
        assert engine.images(result) == 0
        thumbs, _ = engine.thumbs(result, neurons)
        assert thumbs.shape == (len(neurons), 2, 16, 16)
        assert not thumbs.any()
        assert engine.summary(result, PUBLISHED).request.score == "published"
        with pytest.raises(BadRequestError, match="No picture"):
            engine.preview(result, 0)


# Out


def opened(folder: Path) -> dict[str, Any]:
    """The three files as the published notebooks open them."""
    return {name: pickle.loads((folder / name).read_bytes()) for name in NAMES}


def test_in_and_out_again_is_the_same_to_the_last_bit(
    source: Path, bring: Import, tmp_path: Path
) -> None:
    export_published(bring(source), "their-net", tmp_path / "back", "published")
    back, before = opened(tmp_path / "back"), content()
    assert torch.equal(back["table.pkl"], before["table.pkl"])
    assert back["table.pkl"].dtype == torch.float32
    assert back["table.pkl"].is_contiguous()
    for name in ("gan_stats.pkl", "discr_stats.pkl"):
        assert len(back[name]) == len(before[name])
        for ours, theirs in zip(back[name], before[name], strict=True):
            assert isinstance(ours, list), "the notebooks put moved tensors in their place"
            assert torch.equal(ours[1], theirs[1])
            assert torch.equal(ours[0].float(), theirs[0].float())
            assert (ours[0].dtype, ours[1].dtype) == (torch.float64, torch.float32)
            assert ours[0].shape == theirs[0].shape


def test_an_exported_file_is_only_tensors_and_lists(
    source: Path, bring: Import, tmp_path: Path
) -> None:
    export_published(bring(source), "their-net", tmp_path / "back", "published")
    for name in NAMES:
        data = (tmp_path / "back" / name).read_bytes()
        names = {value for code, value, _ in pickletools.genops(data) if code.name == "GLOBAL"}
        assert names == {
            "torch._utils _rebuild_tensor_v2",
            "torch.storage _load_from_bytes",
            "collections OrderedDict",
        }


@pytest.mark.parametrize("value", [0, 1, 255, (1 << 31) - 1, 1 << 31, 1 << 40, 0x1950A86A20F946])
def test_integers_are_spelled_as_python_reads_them(value: int) -> None:
    assert pickle.loads(b"\x80\x02" + _integer(value) + b".") == value


@pytest.fixture(scope="module")
def matched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, str]]:
    """A match of ours over tiny models, one of which has a dead unit."""
    registry = Registry()
    for card, loader in tiny_cards():
        registry.add(card, loader)
    cache = tmp_path_factory.mktemp("cache")
    with Engine(Settings(cache_dir=cache, device="cpu"), registry) as engine:
        request = MatchRequest("planted-gan", ("planted-copy-a", "tiny-net-a"), n_images=16)
        yield engine, engine.wait(engine.start_match(request), 60).result


def test_a_match_of_ours_out_and_in_again_keeps_its_neurons(
    matched: tuple[Engine, str], tmp_path: Path
) -> None:
    engine, result = matched
    folder = ResultFolder.open(engine._bench.shelf.path(result))
    names = ("planted-gan", "tiny-net-a")
    export_published(folder, names[1], tmp_path / "theirs", "pearson")
    values = opened(tmp_path / "theirs")["table.pkl"].numpy()
    ours = np.array(folder.scores(*names, "pearson"))
    dead = folder.dead(names[1])
    assert dead.any()
    assert np.array_equal(values, np.where(np.isfinite(ours), ours, 0))
    again = import_published(
        tmp_path / "theirs",
        tmp_path / "out",
        MatchRequest(names[0], (names[1],), 16),
        engine._bench.registry,
        engine._bench.weights,
    )
    assert np.array_equal(again.dead(names[1], "published"), dead)
    assert again.index(names[1]).layers == folder.index(names[1]).layers
    for rule in ("published", "mutual"):
        before = answers.pairs(folder, names[1], Selection(rule, 5, "pearson"))
        after = answers.pairs(again, names[1], Selection(rule, 5, "published"))
        found = [[(a, p.unit, p.score, p.rank) for a, p in pairs] for pairs in (before, after)]
        assert found[0] == found[1]


def test_what_cannot_be_exported_says_why(
    matched: tuple[Engine, str], source: Path, bring: Import, tmp_path: Path
) -> None:
    folder = bring(source)
    with pytest.raises(BadRequestError, match="no 'centred' scores"):
        export_published(folder, "their-net", tmp_path / "back", "centred")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match=r"holds other files, such as 'thesis\.tex'"):
        export_published(folder, "their-net", tmp_path / "full", "published")
    packed = tmp_path / "packed"
    engine, result = matched
    app = typer.Typer()
    results.mount(app)
    path = str(engine._bench.shelf.path(result))
    assert CliRunner().invoke(app, ["bundle", path, "--out", str(packed)]).exit_code == 0
    with pytest.raises(StoreError, match="keeps no whole table"):
        export_published(ResultFolder.open(packed), "tiny-net-a", tmp_path / "back", "pearson")


# The commands


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    app = typer.Typer()
    results.mount(app)
    published.mount(app)

    def call(*arguments: str | Path) -> Result:
        options = ("--cache-dir", str(tmp_path / "cache"))
        return CliRunner().invoke(app, [*map(str, arguments), *options])

    return call


def test_import_into_the_cache_is_kept_and_read_by_every_command(
    run: Callable[..., Result], source: Path
) -> None:
    done = run("import-published", source, "--generator", "g", "--backbone", "b")
    assert done.exit_code == 0, done.output
    assert "g: 10 units in 2 layers" in done.stdout
    assert "Without a null nothing can be set against chance" in done.stdout
    result = done.stdout.split()[-1]
    (entry,) = json.loads(run("cache", "ls", "--json").stdout)
    assert (entry["key"], entry["saved"]) == (result, True)
    assert entry["title"] == "g × b · published result folder"
    listed = run("rosetta", result).stdout
    assert "(no null)" in listed
    assert "no null to compare with" in listed
    assert "no better than chance" not in listed
    assert "shuffled -" in run("report", result).stdout
    assert "b/layer1:2  =  7 of b's 15 units" in run("unit", result, "7").stdout
    neuron = json.loads(run("rosetta", result, "--json").stdout)["neurons"][0]
    assert neuron["null_min"] is None


def test_export_published_writes_a_folder_for_each_backbone(
    run: Callable[..., Result], matched: tuple[Engine, str], tmp_path: Path
) -> None:
    engine, result = matched
    path = engine._bench.shelf.path(result)
    assert run("export-published", path, "--out", tmp_path / "all").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["planted-copy-a", "tiny-net-a"]
    assert opened(tmp_path / "all" / "tiny-net-a")["table.pkl"].shape == (24, 18)
    one = ("--backbone", "planted-copy-a", "--score", "centred")
    assert run("export-published", path, "--out", tmp_path / "one", *one).exit_code == 0
    assert opened(tmp_path / "one")["table.pkl"].shape == (24, 24)
    done = run("export", path, "--published", "--out", tmp_path / "flag")
    assert done.exit_code == 0, done.output
    assert opened(tmp_path / "flag" / "tiny-net-a")["gan_stats.pkl"][0][0].shape == (1, 12, 1, 1)
    wrong = run("export-published", path, "--out", tmp_path / "x", "--score", "cosine")
    assert isinstance(wrong.exception, BadRequestError)


def test_a_number_of_images_below_one_is_refused(run: Callable[..., Result], source: Path) -> None:
    arguments = ("--generator", "g", "--backbone", "b", "--images", "0")
    assert isinstance(run("import-published", source, *arguments).exception, BadRequestError)
