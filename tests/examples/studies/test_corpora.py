"""Texts that come with Python, split so that no part has what another has."""

from __future__ import annotations

from branchtrack.examples.studies import corpora

PARTS = ("train", "validation", "test")


def test_parts_have_nothing_in_common() -> None:
    for text_of in (corpora.documentation, corpora.code):
        texts = [text_of(part) for part in PARTS]
        assert texts == [text_of(part) for part in PARTS]
        assert len(texts[0]) > len(texts[1]) > 0 and len({*texts}) == 3
        assert not any(texts[1][:2000] in other for other in (texts[0], texts[2]))


def test_shards_of_code_have_all_of_it_once() -> None:
    (name, documentation), *code = corpora.shards(2)
    assert (name, documentation) == (corpora.DOCUMENTATION, corpora.documentation("train"))
    assert [name for name, _text in code] == ["code-1", "code-2"]
    lines = sorted(line for _name, text in code for line in text.splitlines() if line)
    assert lines == sorted(filter(None, corpora.code("train").splitlines()))
