"""Settings and parameters are declared in one way."""

from __future__ import annotations

from branchtrack.schemas.steering import Declaration, Parameter, Setting


def test_a_parameter_is_declared_as_a_setting_is() -> None:
    assert issubclass(Setting, Declaration) and issubclass(Parameter, Declaration)
    assert {"allowed", "minimum", "maximum", "choices"} <= set(Declaration.model_fields)
