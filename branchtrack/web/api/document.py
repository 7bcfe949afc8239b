"""The OpenAPI document of the API, made of the contracts of its routes."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from flask import Blueprint, Flask, current_app, request

from branchtrack.schemas.bases import Answer
from branchtrack.schemas.errors import ErrorAnswer
from branchtrack.web.api import contract
from branchtrack.web.api.contract import Contract, documented

blueprint = Blueprint("api_document", __name__, url_prefix="/api/v1")
#: What any route may answer instead, and what those that take a body may.
_ERRORS = (400, 401, 403, 404, 409, 422, 429, 500, 503)
_BODY_ERRORS = (413, 415)
_KEY = "branchtrack-openapi"
_ABOUT = "Every error has one shape. Times are ISO 8601 in UTC. More keys may be added to answers."


class Document(Answer):
    """An OpenAPI document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]
    tags: list[Any]
    security: list[Any]
    servers: list[Any]


@blueprint.get("/openapi.json")
@documented(Document)
def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of this API."""
    extensions = current_app.extensions
    if _KEY not in extensions:
        extensions[_KEY] = generate(current_app)
    return {**extensions[_KEY], "servers": [{"url": request.script_root or "/"}]}


def generate(app: Flask) -> dict[str, Any]:
    """Return the document of an application's routes that have a contract."""
    # A server that nobody asks for its document does without this library.
    from spectree import SecurityScheme, SpecTree
    from spectree.models import SecureType, SecuritySchemeData

    token = SecuritySchemeData(type=SecureType.HTTP, scheme="bearer")
    spec = SpecTree(
        "flask",
        title="branchtrack",
        version=version("branchtrack"),
        description=_ABOUT,
        mode="strict",
        annotations=False,
        naming_strategy=lambda model: str(model.__name__),
        nested_naming_strategy=lambda _parent, child: child,
        validation_error_model=ErrorAnswer,
        security_schemes=[SecurityScheme(name="token", data=token)],
        security={"token": []},
        page_templates={},
    )
    # Routes that only describe: the real ones validate by themselves.
    routes = Flask("document", static_folder=None)
    contracts: dict[str, Contract] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        agreed = contract.of(view)
        if agreed is None:
            continue
        name = rule.endpoint.replace(".", "_").removeprefix("api_")
        contracts[name] = agreed
        routes.add_url_rule(
            rule.rule,
            name,
            _described(spec, view, agreed, name),
            methods=sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}),
        )
    spec.register(routes)
    with routes.app_context():
        document: dict[str, Any] = spec.spec
    for agreed in contracts.values():
        # Their fields are parameters.
        document["components"]["schemas"].pop(getattr(agreed.query, "__name__", ""), None)
    for path in document["paths"].values():
        for operation in path.values():
            _complete(operation, contracts[operation["operationId"]])
    return document


def errors_of(agreed: Contract) -> tuple[int, ...]:
    """Return the statuses of errors that a route may answer with."""
    return (*_ERRORS, *(_BODY_ERRORS if agreed.body is not None else ()))


def _described(spec: Any, view: Any, agreed: Contract, name: str) -> Any:
    from spectree import Response

    models: dict[str, Any] = {f"HTTP_{status}": ErrorAnswer for status in errors_of(agreed)}
    models |= {f"HTTP_{status}": model for status, model in agreed.answers.items()}
    return spec.validate(
        query=agreed.query,
        json=agreed.body,
        resp=Response(**models),
        tags=[view.__module__.rpartition(".")[2]],
        operation_id=name,
        skip_validation=True,
    )(view)


def _complete(operation: dict[str, Any], agreed: Contract) -> None:
    """Add what the library has no words for: roles, headers, other types of answers."""
    for parameter in operation["parameters"]:
        parameter["schema"] = _of_text(parameter["schema"])
    operation["x-roles"] = agreed.roles
    for status, response in operation["responses"].items():
        response.setdefault("description", HTTPStatus(int(status)).phrase)
        if int(status) in agreed.answers and agreed.media != "application/json":
            response["content"] = {agreed.media: {"schema": {"type": "string"}}}
        if int(status) in (429, 503):
            response["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}


def _of_text(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter without null, for which an address has no word."""
    forms = [form for form in schema.get("anyOf", ()) if form != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("title", "description")}
    if len(forms) == 1:
        del rest["anyOf"]
        rest |= forms[0]
    elif forms:
        rest["anyOf"] = forms
    return {key: value for key, value in rest.items() if (key, value) != ("default", None)}
