"""A dataset of shards: its items, the changes of its composition, and that this is a setting."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import branchtrack
from branchtrack.core.shards.composition import SETTING
from branchtrack.errors import DataChanged, InvalidInput
from branchtrack.training.settings.dataset_settings import DataSettings

CODE, PROSE = list(range(100)), list(range(1000, 1300))


def live(**given: Any) -> Any:
    sources = {"code": CODE, "prose": PROSE}
    return branchtrack.LiveDataset(
        sources, **{"weights": {"code": 1, "prose": 3}, "length": 400, **given}
    )


def write(folder: Path, name: str, first: int, count: int = 50) -> Path:
    path = folder / f"{name}.json"
    path.write_text(str(list(range(first, first + count))))
    return path


def test_items_come_by_weight_and_depend_on_seed_and_position_alone() -> None:
    items = list(live())
    assert 70 < sum(item < 1000 for item in items) < 130
    assert items == list(live()) != list(live(seed=1))
    assert live()[-1] == items[-1] and live()[17] == items[17]
    with pytest.raises(IndexError):
        live()[400]


def test_without_weights_and_length_every_item_is_as_likely() -> None:
    data = live(weights=None, length=None)
    assert len(data) == 400 and data.composition.value.startswith("code prose @")
    assert 70 < sum(item < 1000 for item in data) < 130


def test_a_copy_and_workers_give_the_same_items(tmp_path: Path) -> None:
    data = live()
    data.add("chat", write(tmp_path, "chat", 5000), 4)
    whole = list(data)
    assert any(item >= 5000 for item in whole)
    assert list(pickle.loads(pickle.dumps(data))) == whole
    loaded = DataLoader(data, batch_size=50, num_workers=2)
    assert [int(item) for batch in loaded for item in batch] == whole


def test_a_script_adds_removes_and_reweights(tmp_path: Path) -> None:
    data = live(transform=lambda item: item + 1)
    data.add("chat", [7000])
    assert data.composition.shards[2].weight == 2.0 and 7001 in list(data)
    data.reweight(chat=0, code=5)
    assert 7001 not in list(data)
    data.remove("code")
    assert min(data) > 1000
    with pytest.raises(InvalidInput, match="No shard would be left"):
        data.remove("prose")


def test_the_composition_is_one_setting_which_goes_back() -> None:
    data = live()
    settings = DataSettings(data)
    before, items = settings.values(), list(data)
    assert before == {SETTING: data.composition.value}
    data.reweight(code=9)
    settings.write(before)
    assert list(data) == items
    with pytest.raises(InvalidInput, match="branchtrack show"):
        settings.write({SETTING: "code:1 @" + "0" * 16})
    assert settings.values() == before


def test_a_change_is_requested_by_names_and_paths(tmp_path: Path) -> None:
    data, path = live(), write(tmp_path, "chat", 5000)
    fingerprint = data.prepare(path)
    change = {"add": {"chat": str(path)}, "weights": {"chat": 4}, "remove": ["code"]}
    value = data.changed({**change, "fingerprints": {"chat": fingerprint}})
    assert value.startswith("prose:3 chat:4 @") and data.composition.names == ["code", "prose"]
    data.write_settings({"shards": value})
    assert data.composition.names == ["prose", "chat"]
    other = {"chat2": str(write(tmp_path, "other", 1))}
    with pytest.raises(InvalidInput, match="fingerprint"):
        data.changed({"add": other, "fingerprints": {"chat2": fingerprint}})


def test_requests_can_add_nothing_outside_the_roots(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir(), outside.mkdir()
    data = live(roots=[inside])
    write(outside, "secret", 1)
    (inside / "link.json").symlink_to(outside / "secret.json")
    for path in (outside / "secret.json", inside / "../out/secret.json", inside / "link.json"):
        with pytest.raises(InvalidInput, match="a file in"):
            data.changed({"add": {"x": str(path)}})
    assert data.changed({"add": {"x": str(write(inside, "x", 1))}}).startswith("code:1 prose:3 x:2")


def test_a_composition_of_another_process_is_looked_up(tmp_path: Path) -> None:
    path = write(tmp_path, "chat", 5000)
    other = live()
    other.add("chat", path, 4)
    data, asked = live(), []

    def look_up(beginning: str) -> str:
        asked.append(beginning)
        return other.documents()[other.composition.digest]

    data.connect(look_up)
    data.write_settings({"shards": other.composition.value})
    assert list(data) == list(other) and asked == [other.composition.digest[:16]]


@pytest.mark.parametrize("fault", ["vanished", "changed", "other count", "no object"])
def test_a_shard_that_is_not_what_it_was_is_named_and_nothing_changes(
    tmp_path: Path, fault: str
) -> None:
    path = write(tmp_path, "chat", 5000)
    other = live()
    other.add("chat", [1, 2, 3] if fault == "no object" else path, 4)
    if fault == "vanished":
        path.unlink()
    elif fault == "changed":
        write(tmp_path, "chat", 6000)
    read = {"read": lambda _path: [1, 2]} if fault == "other count" else {}
    data = live(**read)
    data.connect(lambda _beginning: other.composition.document)
    items = list(data)
    with pytest.raises(DataChanged, match="Shard chat") as error:
        data.write_settings({"shards": other.composition.value})
    assert error.value.shard == "chat" and "No other samples" in str(error.value)
    assert list(data) == items


def test_items_are_counted_by_shard_until_the_counts_are_taken() -> None:
    data = live()
    items = [data[index] for index in range(100)]
    drawn = {key.partition("@")[0]: count for key, count in data.take_drawn().items()}
    assert drawn == dict(Counter("code" if item < 1000 else "prose" for item in items))
    assert data.take_drawn() == {}


def test_shards_of_the_same_bytes_are_read_each_in_its_own_way(tmp_path: Path) -> None:
    for name in ("raw.txt", "rows.jsonl", "copy.jsonl"):
        (tmp_path / name).write_text('{"x": 1}\n')
    names = {"raw": "raw.txt", "rows": "rows.jsonl", "copy": "copy.jsonl"}
    data = branchtrack.LiveDataset({n: tmp_path / p for n, p in names.items()}, length=60)
    kinds = {(data.pick(index)[0].name, type(data[index])) for index in range(60)}
    assert kinds == {("raw", str), ("rows", dict), ("copy", dict)}
    assert [Path(s.source).name for s in data.composition.shards] == list(names.values())
    data.remove("rows")
    assert data.composition.names == ["raw", "copy"] and len(list(data)) == 60


def test_files_that_are_removed_are_closed_and_opened_again(tmp_path: Path) -> None:
    path = write(tmp_path, "chat", 5000)
    data = live()
    data.add("chat", path, 4)
    with_chat, items = data.composition.value, list(data)
    data.remove("chat")
    path.rename(tmp_path / "gone.json")
    with pytest.raises(DataChanged, match="chat"):
        data.write_settings({"shards": with_chat})
    (tmp_path / "gone.json").rename(path)
    data.write_settings({"shards": with_chat})
    assert list(data) == items


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"shards": {}}, "shards"),
        ({"shards": [1, 2]}, "shards"),
        ({"shards": {"a b": [1]}}, "a b"),
        ({"shards": {"code": []}}, "code"),
        ({"shards": {"code": "nowhere.txt"}}, "nowhere.txt"),
        ({"weights": {"code": 0, "prose": 0}}, "to draw from"),
        ({"weights": {"code": -1, "prose": 1}}, "weights.code"),
    ],
)
def test_what_cannot_be_drawn_from_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        branchtrack.LiveDataset(**{"shards": {"code": CODE, "prose": PROSE}, **given})
