"""Texts are cut into windows of equal length, which are their own labels."""

from __future__ import annotations

from branchtrack.examples import text


def test_a_window_holds_the_bytes_of_its_text() -> None:
    windows = text.windows(["ab" * text.CONTEXT])
    assert len(windows) == 2
    assert bytes(windows[0]["input_ids"].tolist()).decode() == "ab" * (text.CONTEXT // 2)
    assert windows[0]["labels"] is windows[0]["input_ids"]


def test_what_does_not_fill_a_window_is_left_out() -> None:
    assert text.windows(["a" * (text.CONTEXT - 1)]) == []
    assert len(text.windows(["a" * (text.CONTEXT - 1), "b"])) == 1


def test_texts_that_are_not_ascii_stay_within_the_vocabulary() -> None:
    (window,) = text.windows(["ä" * (text.CONTEXT // 2)])
    assert int(window["input_ids"].max()) < 256
