"""A small tree of an HTML page for tests: found by tag, role, label or heading, never by text as
a whole."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())
INLINE = frozenset("a abbr b code em i span strong time wbr".split())
ROLES = {
    "a": "link",
    "button": "button",
    "table": "table",
    "nav": "navigation",
    "main": "main",
    "header": "banner",
    "fieldset": "group",
}


class Element:
    """An element with its attributes and content."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: Element | None) -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.content: list[Element | str] = []

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    def get(self, name: str, default: str = "") -> str:
        """An attribute."""
        return self.attributes.get(name, default)

    @property
    def children(self) -> list[Element]:
        """The elements right below."""
        return [part for part in self.content if isinstance(part, Element)]

    @property
    def text(self) -> str:
        """All text below, with single spaces."""
        return " ".join(self._words().split())

    @property
    def classes(self) -> list[str]:
        """The classes."""
        return self.get("class").split()

    def _words(self) -> str:
        words = "".join(p if isinstance(p, str) else p._words() for p in self.content)
        return words if self.tag in INLINE else f" {words} "

    def walk(self) -> Iterator[Element]:
        """Every element below, in order."""
        for child in self.children:
            yield child
            yield from child.walk()

    def and_above(self) -> Iterator[Element]:
        """This element, and every one that it is in, from the innermost."""
        yield self
        if self.parent is not None:
            yield from self.parent.and_above()

    def all(self, tag: str = "", /, **attributes: str) -> list[Element]:
        """The elements below of a tag with those attributes (``class_`` is class)."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [
            one
            for one in self.walk()
            if (not tag or one.tag == tag)
            and all(
                value in one.classes if key == "class" else one.get(key) == value
                for key, value in wanted.items()
            )
        ]

    def one(self, tag: str = "", /, **attributes: str) -> Element:
        """The only such element."""
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} of <{tag}> {attributes}"
        return found[0]

    def by_role(self, role: str, name: str = "") -> list[Element]:
        """Elements of a role whose accessible name contains ``name``."""
        return [
            one
            for one in self.walk()
            if (one.get("role") or ROLES.get(one.tag)) == role and name in one.label
        ]

    @property
    def label(self) -> str:
        """The accessible name, as far as our pages need it."""
        return self.get("aria-label") or self.text

    def heading(self, text: str) -> Element:
        """The only heading that contains ``text``."""
        found = [one for one in self.walk() if one.tag in ("h1", "h2", "h3") and text in one.text]
        assert len(found) == 1, f"{len(found)} headings with {text!r}"
        return found[0]

    def field(self, label: str) -> Element:
        """The control whose label starts with ``label``."""
        for one in self.all("label"):
            if one.text.startswith(label):
                if one.get("for"):
                    return self.one(id=one["for"])
                return next(e for e in one.walk() if e.tag in ("input", "select", "textarea"))
        raise AssertionError(f"no field {label!r}")

    def table(self, label: str) -> list[dict[str, str]]:
        """The rows of the table in the region of that name, by column head."""
        region = self.by_role("region", label)[0]
        heads = [one.text for one in region.one("thead").all("th")]
        rows = []
        for row in region.one("tbody").all("tr"):
            cells = [one.text for one in row.children]
            rows.append(dict(zip(heads, cells, strict=True)))
        return rows


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("#document", {}, None)
        self.here = self.root

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = Element(tag, {key: value or "" for key, value in attributes}, self.here)
        self.here.content.append(found)
        if tag not in VOID:
            self.here = found

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = Element(tag, {key: value or "" for key, value in attributes}, self.here)
        self.here.content.append(found)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.content.append(data)


def parse(html: str) -> Element:
    """A page; tags that do not match fail."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert parser.here is parser.root, f"<{parser.here.tag}> is not closed"
    return parser.root
