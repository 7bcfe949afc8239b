"""Every application has services of its own."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from branchtrack.web import services
from branchtrack.web.services import Services


def with_note(note: str) -> tuple[Flask, Services]:
    nothing: Any = None
    app, app_services = Flask(__name__), Services(nothing, nothing, nothing, note)
    services.register(app, app_services)
    return app, app_services


def test_two_applications_do_not_share_services() -> None:
    first, second = with_note("a"), with_note("b")
    for app, app_services in (first, second):
        assert services.services_of(app) is app_services
        with app.app_context():
            assert services.services() is app_services


def test_outside_of_an_application_there_are_none() -> None:
    with_note("a")
    with pytest.raises(RuntimeError):
        services.services()
