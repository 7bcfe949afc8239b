"""What pages work with, stored on the application: configuration, database and store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.db.engine import Database

_KEY = "branchtrack"


@dataclass(frozen=True)
class Services:
    """The services; ``worker_note`` says how launches are started, if that is known."""

    config: Config
    database: Database
    store: Store
    worker_note: str


def register(app: Flask, app_services: Services) -> None:
    """Give an application its services."""
    app.extensions[_KEY] = app_services


def services() -> Services:
    """Return the current application's services."""
    return services_of(current_app)


def services_of(app: Flask) -> Services:
    """Return the services of an application."""
    return cast(Services, app.extensions[_KEY])
