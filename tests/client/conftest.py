"""The sites of the web's tests, for a client of them."""

from __future__ import annotations

from tests.web.conftest import _compiled_once as _compiled_once
from tests.web.conftest import empty as empty
from tests.web.conftest import own as own
from tests.web.conftest import small as small
