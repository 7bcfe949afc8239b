"""Our own scripts and styles as they are sent."""

from __future__ import annotations

import pytest

from branchtrack.paths import asset_dir
from branchtrack.web import stripped
from tests.web.conftest import Site

#: All of it, whichever page asks for what.
MOST = 50 * 1024
FILES = sorted(
    file.relative_to(asset_dir("static")).as_posix()
    for file in asset_dir("static").rglob("*")
    if file.suffix in (".js", ".css")
)


def test_a_script_loses_indentation_and_lines_that_are_comments() -> None:
    text = '// Why.\nconst url = "https://a.b";  // here\n\n  // More.\n  go(`a // b`);\n'
    assert stripped.script(text) == 'const url = "https://a.b";  // here\ngo(`a // b`);\n'


def test_a_style_loses_indentation_comments_and_what_is_idle_but_not_those_of_texts() -> None:
    text = (
        "/* Why,\n   at length. */\n@media print {\n  p > :is(a, b) { color: red; } /* here */\n}\n"
    )
    assert stripped.style(text) == "@media print{\np>:is(a,b){color:red}\n}\n"
    text = 'p { content: "no: one { , two"; }\n'
    assert stripped.style(text) == 'p{content:"no: one { , two"}\n'


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("vendor")])
def test_what_is_sent_is_the_same_whether_or_not_it_is_compressed(site: Site, name: str) -> None:
    plain = site.client.get(f"/static/{name}", headers={"Accept-Encoding": "identity"})
    assert len(plain.data) < (asset_dir("static") / name).stat().st_size
    packed = site.client.get(f"/static/{name}", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.data) < len(plain.data) == int(plain.headers["Content-Length"])


def test_a_part_of_a_file_is_not_sent_in_its_own_bytes(site: Site) -> None:
    whole = site.client.get("/static/app.css")
    part = site.client.get("/static/app.css", headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.data) == (200, whole.data)


def test_all_script_and_style_is_small(site: Site) -> None:
    headers = {"Accept-Encoding": "gzip"}
    sizes = {name: len(site.client.get(f"/static/{name}", headers=headers).data) for name in FILES}
    assert sum(sizes.values()) <= MOST, sizes
