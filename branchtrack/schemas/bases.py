"""What the models of query strings, bodies and answers have in common.

They know no server and no database: the API validates with them, its document is made of them, and
the client reads answers with them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from branchtrack.core.names import storable

_LARGEST = 2**53
_SPELLED = ["NaN", "Infinity", "-Infinity"]


#: A number of a measurement; JSON spells what it has no numbers for.
Number = Annotated[
    float, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "enum": _SPELLED}]})
]
#: A whole number, such as a step or a cursor.
Whole = Annotated[int, Field(ge=0, le=_LARGEST)]
#: ISO 8601 in UTC, to the millisecond.
Moment = str
Values = dict[str, Any]
_STORABLE = "text without NUL and halves of surrogate pairs"


def storable_text(text: str) -> str:
    """Return text that every database can hold as it is.

    Raises:
        ValueError: it has a NUL character, or half a surrogate pair.
    """
    if storable(text) != text:
        raise ValueError(_STORABLE)
    return text


Text = Annotated[str, AfterValidator(storable_text)]
#: Why something is done, as it is kept in the record.
Reason = Annotated[Text, Field(max_length=2000)]


class Query(BaseModel):
    """A query string; each name once, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Selection(Query):
    """A query string of a route that answers with an object, or with a list of them."""

    fields: str | None = Field(
        None,
        description="Names of keys, with commas between: only these of each item are in the "
        "answer. `settings.lr` is a key within another. Keys of pages stay.",
    )


class Body(BaseModel):
    """A body: one JSON object, its values of exactly these types, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Answer(BaseModel):
    """An answer. More keys may be added; a client ignores those that it does not know."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    #: The key of the list that a page is of; empty if the answer is an item itself.
    items: ClassVar[str] = ""
