"""Every blueprint of the API is served."""

from __future__ import annotations

import importlib
import pkgutil

from branchtrack.web import api
from branchtrack.web.api.routes import BLUEPRINTS


def test_every_module_with_a_blueprint_is_among_them() -> None:
    modules = (
        importlib.import_module(f"{api.__name__}.{module.name}")
        for module in pkgutil.iter_modules(api.__path__)
    )
    found = {module.blueprint.name for module in modules if hasattr(module, "blueprint")}
    assert found == {blueprint.name for blueprint in BLUEPRINTS}
    assert all((blueprint.url_prefix or "").startswith("/api/v1") for blueprint in BLUEPRINTS)
