"""How values are written for people, on pages and in the shell."""

from __future__ import annotations

import math

import pytest

from branchtrack.core import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.21439, "2.214"),
        (0.0123456, "0.01235"),
        (0.5, "0.500"),
        (12345.6, "12,346"),
        (0, "0.000"),
        (1e-7, "1e-7"),
        (-3.25, "−3.250"),
        (123.456, "123.5"),
        (math.nan, "NaN"),
        ("nan", "NaN"),
        (math.inf, "∞"),
        ("-inf", "−∞"),
        (None, "–"),
        (3.2e8, "3.2e8"),
        (0.0045, "4.5e-3"),
        (0.00999999, "0.01000"),
        (2e6, "2e6"),
        ("not a number", "–"),
    ],
)
def test_a_measured_value_has_four_significant_digits(value: object, text: str) -> None:
    assert formats.metric(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3e-4, "3e-4"),
        (1.5e-3, "1.5e-3"),
        (0.01, "0.01"),
        (0.1, "0.1"),
        (1.0, "1"),
        (0.0, "0"),
        (1e6, "1e6"),
        (-2e-5, "-2e-5"),
        (0.00030000000000000003, "3.0000000000000003e-4"),
        (True, "true"),
        (None, "–"),
        (5, "5"),
        ("cosine", "cosine"),
        ([0.9, 0.999], "[0.9, 0.999]"),
        ({"$": "tuple", "items": [0.9, 0.999]}, "[0.9, 0.999]"),
    ],
)
def test_a_setting_is_written_exactly(value: object, text: str) -> None:
    assert formats.exact_setting(value) == text


def test_measured_values_and_settings_of_one_size_are_written_one_way() -> None:
    for exponent in range(-12, 12):
        value = 1.234 * 10.0**exponent
        texts = (formats.metric(value), formats.setting(value), formats.delta(value))
        assert len({"e" in text for text in texts}) == 1, texts


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.0480000000000003e-3, "2.048e-3"), (None, ""), ("", ""), (True, "true"), (0.1, "0.1")],
)
def test_a_field_shows_a_setting_as_pages_do(value: object, text: str) -> None:
    assert formats.typed(value) == text


def test_a_setting_that_is_a_number_is_read_back_from_its_text() -> None:
    for value in (1e-300, 3e-4, 0.1 + 0.2, 123456.789, 1e22, 5e-324):
        assert float(formats.exact_setting(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.041, "−0.041"),
        (0.018, "+0.018"),
        (0.0, "0"),
        (0.00012, "+1.2e-4"),
        (None, "–"),
        (1e-9, "+1e-9"),
        (-1e-9, "−1e-9"),
        (math.nan, "NaN"),
    ],
)
def test_a_difference_shows_its_sign(value: object, text: str) -> None:
    assert formats.delta(value) == text


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([-0.012, 0.009, None, 0.0], ["−0.0120", "+0.0090", "–", "0"]),
        ([-0.0051], ["−0.00510"]),
        ([1234.5, -1.0], ["+1,234", "−1"]),
        ([1e-6, 2e-7], ["+1e-6", "+2e-7"]),
        ([0.5, math.nan], ["+0.500", formats.delta(math.nan)]),
        ([None], ["–"]),
        ([], []),
    ],
)
def test_differences_that_are_read_together_have_the_same_decimals(
    values: list[float | None], texts: list[str]
) -> None:
    assert formats.deltas(values) == texts


def test_a_difference_may_have_fewer_digits() -> None:
    assert formats.deltas([-0.0051], 2) == ["−0.0051"]


def test_bytes_are_in_decimal_units() -> None:
    assert [formats.size(n) for n in (0, 999, 1500, 61_240_000, 412_000_000, None)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "61.2 MB",
        "412 MB",
        "–",
    ]


def test_shares_are_read_in_percent() -> None:
    assert [formats.percent(share) for share in (0.98519, 0.95, 1)] == ["98.5 %", "95 %", "100 %"]


def test_durations_have_one_unit() -> None:
    assert [formats.duration(s) for s in (-1, 42, 180, 7200, 90000, 9e6)] == [
        "0 s",
        "42 s",
        "3 min",
        "2 h",
        "1 d",
        "104 d",
    ]


def test_ids_are_shown_as_eight_characters() -> None:
    assert formats.short("0123456789abcdef") == "01234567"
    assert formats.short(None) == ""


def test_counts_agree_with_their_nouns() -> None:
    assert formats.plural(1, "branch", "branches") == "1 branch"
    assert formats.plural(1200, "node") == "1,200 nodes"


def test_a_schedule_for_another_length_is_written_in_words() -> None:
    recipe = {"steps": 24, "path": [[5, 5], [40, 24]]}
    assert formats.setting(recipe) == "made for 24 updates, its 5 to 24 spread over updates 5 to 40"


def test_what_came_of_a_request_is_told_in_words() -> None:
    told = formats.outcome({"metrics": {"eval_loss": 0.61}, "branch": "cooler", "node": "3fa9"})
    assert told == "eval_loss 0.610, branch cooler"
    result = {"from_sample": {"data.shards": 1404, "data.noise": None}}
    assert formats.outcome(result) == "data.shards from sample 1,404 on"
    assert formats.outcome(None) == ""


def test_two_values_that_differ_never_look_alike() -> None:
    assert formats.setting_pair(1.0, 1.0000000001) == ("1", "1.0000000001")
    assert formats.setting_pair(2.0480000000000003e-3, 1.0) == ("2.048e-3", "1")


def test_a_setting_has_six_digits_and_the_exact_one_all() -> None:
    assert formats.setting(2.0480000000000003e-3) == "2.048e-3"
    assert formats.setting(0.1 + 0.2) == "0.3"
    assert formats.setting([0.9, 0.1 + 0.2]) == "[0.9, 0.3]"
    assert formats.setting([{"before": 0.1 + 0.2}]) == '[{"before": 0.3}]'
    assert formats.exact_setting(0.1 + 0.2) == "0.30000000000000004"
    assert formats.setting("") == "none" and formats.exact_setting("") == ""


def test_a_time_is_relative_in_one_unit() -> None:
    assert [formats.ago(100.0, now) for now in (99.0, 101.9, 142.0, 280.0)] == [
        "just now",
        "just now",
        "42 s ago",
        "3 min ago",
    ]
    assert formats.timestamp(1_700_000_000.0) == "2023-11-14 22:13:20 UTC"


def test_states_are_in_words_where_their_names_say_too_little() -> None:
    assert formats.state_words("running") == "training"
    assert formats.state_words("verified") == "verified"


def test_a_metric_is_a_number_however_it_was_stored() -> None:
    assert formats.as_number("-inf") == -math.inf
    assert formats.as_number(True) is None and formats.as_number("lr") is None


def test_a_change_is_written_with_the_step_where_it_is_not_its_nodes() -> None:
    assert formats.change_words("lr", 5e-3, 1e-3) == "lr 5e-3 → 1e-3"
    assert formats.change_words("lr", None, 0.1, 1200) == "lr – → 0.1 (since step 1,200)"


def test_changes_of_data_are_said_from_their_first_sample_on_if_it_is_known() -> None:
    numbers = {"data.shards": 1404, "data.shift": None}
    assert formats.from_samples(numbers) == {"data.shards": "from sample 1,404 on"}
    assert formats.outcome({"from_sample": numbers}) == "data.shards from sample 1,404 on"


def test_labels_of_axes_are_written_as_all_numbers_are() -> None:
    values = (0.0, 2500.0, 0.25, 0.005, -0.5, -0.0025, 2e6)
    assert [formats.axis_label(value) for value in values] == [
        "0",
        "2,500",
        "0.25",
        "5e-3",
        "−0.5",
        "−2.5e-3",
        "2e6",
    ]


def test_a_process_is_called_by_its_host_and_its_number() -> None:
    assert formats.process_words("vm:17059:5201172#1") == "vm, process 17059"
    assert formats.process_words("fe80::1:7:9") == "fe80::1, process 7"
    assert formats.process_words("worker") == "worker"
