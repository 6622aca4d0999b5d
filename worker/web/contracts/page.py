"""The OpenAPI document as one page to read: no script, nothing from elsewhere, so that it is read offline too.

Whatever the page shows is in the document; the renderer knows OpenAPI, and nothing of Lettrage.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, Final

Json = Mapping[str, Any]

STYLE: Final = (Path(__file__).parent / "page.css").read_text("utf-8")
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(sha256(STYLE.encode()).digest()).decode()}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content-Security-Policy: this style alone, no script, no picture, in no frame."""

_FORMATS: Final = {"date-time": "time (RFC 3339)", "date": "date (YYYY-MM-DD)"}
_TYPES: Final = {"string": "text", "boolean": "true or false", "null": "null", "integer": "integer", "object": "object"}


def rendered(document: Json) -> bytes:
    """The whole page, UTF-8."""
    return "".join(_Page(document).lines()).encode()


class _Page:
    def __init__(self, document: Json) -> None:
        self._document = document
        self._tags: dict[str, list[tuple[str, str, Json]]] = {tag["name"]: [] for tag in document["tags"]}
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                self._tags[operation["tags"][0]].append((method.upper(), path, operation))
        for name, methods in document["webhooks"].items():
            for operation in methods.values():
                self._tags[operation["tags"][0]].append(("SEND", name, operation))

    def lines(self) -> Iterator[str]:
        info = self._document["info"]
        yield (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>{escape(info['title'])} API {escape(info['version'])}</title>\n"
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<link rel="service-desc" type="application/json" href="/openapi.json">\n'
            f"<style>{STYLE}</style>\n</head>\n<body>\n"
            '<a class="skip" href="#content">Skip to the content</a>\n<header>\n'
            f"<h1>{escape(info['title'])} API</h1>\n"
            f"<p>{escape(info['summary'])}. Version {escape(info['version'])}.</p>\n"
            '<p>For programs: <a href="/openapi.json">OpenAPI 3.1</a>, <a href="/asyncapi.json">AsyncAPI 3</a></p>\n'
            '</header>\n<div class="around">\n'
        )
        yield from self._contents()
        yield f'<main id="content">\n{_paragraphs(info["description"])}'
        for tag in self._document["tags"]:
            yield f'<section aria-labelledby="{_anchor(tag["name"])}">\n<h2 id="{_anchor(tag["name"])}">'
            yield f"{escape(tag['name'])}</h2>\n{_paragraphs(tag['description'])}"
            for method, path, operation in self._tags[tag["name"]]:
                yield from self._operation(method, path, operation)
            yield "</section>\n"
        yield from self._problems()
        yield from self._shapes()
        yield "</main>\n</div>\n<footer>Made from the code; the same as <code>/openapi.json</code>.</footer>\n"
        yield "</body>\n</html>\n"

    def _contents(self) -> Iterator[str]:
        yield '<nav aria-label="Contents">\n'
        for tag, operations in self._tags.items():
            yield f'<h2><a href="#{_anchor(tag)}">{escape(tag)}</a></h2>\n<ul>\n'
            for method, path, operation in operations:
                yield f'<li><a href="#{operation["operationId"]}">{_called(method, path)}</a></li>\n'
            yield "</ul>\n"
        yield '<h2><a href="#problems">Problems</a></h2>\n<h2><a href="#shapes">Shapes</a></h2>\n</nav>\n'

    def _operation(self, method: str, path: str, operation: Json) -> Iterator[str]:
        name = operation["operationId"]
        yield f'<article aria-labelledby="{name}">\n<h3 id="{name}">{_called(method, path)}</h3>\n'
        yield f"<p>{_text(operation['summary'])}.</p>\n"
        if "description" in operation:
            yield _paragraphs(operation["description"])
        scopes = [scope for need in operation["security"] for scopes in need.values() for scope in scopes]
        if scopes:
            yield f'<p class="quiet">Scope: {", ".join(f"<code>{escape(scope)}</code>" for scope in scopes)}</p>\n'
        if operation["parameters"]:
            yield "<h4>Parameters</h4>\n"
            yield _list(self._parameter(parameter) for parameter in operation["parameters"])
        if (body := operation.get("requestBody")) is not None:
            yield "<h4>Body</h4>\n"
            yield _paragraphs(body.get("description", ""))
            yield _list(self._content(body["content"]))
        yield "<h4>Answers</h4>\n"
        yield _list(self._response(status, response) for status, response in operation["responses"].items())
        yield from self._examples(operation)
        yield "</article>\n"

    def _parameter(self, parameter: Json) -> tuple[str, str]:
        where = {"header": "header", "path": "in the address", "query": "parameter"}[parameter["in"]]
        need = ", required" if parameter["required"] else ""
        example = f" Example: <code>{escape(parameter['example'])}</code>." if "example" in parameter else ""
        said = f'<p class="type">{self._type(parameter["schema"])}</p><p>{_text(parameter["description"])}{example}</p>'
        return f'<code>{escape(parameter["name"])}</code> <span class="quiet">{where}{need}</span>', said

    def _content(self, content: Json) -> Iterator[tuple[str, str]]:
        for media_type, described in content.items():
            yield f"<code>{escape(media_type)}</code>", f"<p>{self._type(described.get('schema', {}))}</p>"

    def _response(self, status: str, response: Json) -> tuple[str, str]:
        found = self._resolved(response)
        shown = []
        kinds: list[str] = []
        for media_type, described in found.get("content", {}).items():
            if media_type == "application/problem+json":
                kinds = described["schema"]["properties"]["type"]["enum"]
            else:
                shown.append(f'<p class="type"><code>{escape(media_type)}</code> {self._type(described["schema"])}</p>')
        links = ", ".join(f'<a href="#{_anchor(kind)}"><code>{escape(_last(kind))}</code></a>' for kind in kinds)
        said = f"<p>{_text(found['description'])}</p>" if shown or not kinds else ""
        return f"<code>{escape(status)}</code>", said + "".join(shown) + (f"<p>{links}</p>" if links else "")

    def _examples(self, operation: Json) -> Iterator[str]:
        bodies = [("Example of a body", operation.get("requestBody", {}))]
        answers = [
            (f"Example of a {status}", self._resolved(response))
            for status, response in operation["responses"].items()
            if status.startswith("2")
        ]
        for title, described in bodies + answers:
            for content in described.get("content", {}).values():
                for example in self._first_example(content.get("schema", {})):
                    yield _example(title, example)
                    break
                else:
                    continue
                break

    def _first_example(self, schema: Json) -> list[Any]:
        found = self._resolved(schema)
        if "examples" in found:
            return list(found["examples"][:1])
        arms = found.get("oneOf", found.get("anyOf", ()))
        return next((example for arm in arms if (example := self._first_example(arm))), [])

    def _problems(self) -> Iterator[str]:
        yield '<section aria-labelledby="problems">\n<h2 id="problems">Problems</h2>\n'
        yield "<p>RFC 9457, <code>application/problem+json</code>. <code>type</code> never changes its meaning.</p>\n"
        yield "<article>\n"
        yield _list(_problem(response) for response in self._document["components"]["responses"].values())
        yield "</article>\n</section>\n"

    def _shapes(self) -> Iterator[str]:
        yield '<section aria-labelledby="shapes">\n<h2 id="shapes">Shapes</h2>\n'
        for name, schema in self._document["components"]["schemas"].items():
            anchor = f"shape-{name}"
            yield f'<article aria-labelledby="{anchor}">\n<h3 id="{anchor}"><code>{escape(name)}</code></h3>\n'
            yield _paragraphs(schema.get("description", ""))
            if "properties" in schema:
                required = schema.get("required", ())
                yield _list(self._member(key, value, key in required) for key, value in schema["properties"].items())
            else:
                yield f"<p>{self._type(schema)}</p>\n"
            if "examples" in schema:
                yield _example("Example", schema["examples"][0])
            yield "</article>\n"
        yield "</section>\n"

    def _member(self, name: str, schema: Json, required: bool) -> tuple[str, str]:  # noqa: FBT001 (one of three columns)
        need = ' <span class="quiet">required</span>' if required else ""
        about = f"<p>{_text(schema['description'])}</p>" if "description" in schema and "$ref" not in schema else ""
        return f"<code>{escape(name)}</code>{need}", f'<p class="type">{self._type(schema)}</p>{about}'

    def _type(self, schema: Json) -> str:
        """A schema in a few words."""
        if "$ref" in schema:
            name = _last_part(schema["$ref"])
            return f'<a href="#shape-{name}"><code>{escape(name)}</code></a>'
        if "const" in schema:
            return f"<code>{escape(json.dumps(schema['const']))}</code>"
        if "enum" in schema:
            return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema and "properties" not in schema:
                return " or ".join(self._type(arm) for arm in schema[key])
        return self._plain(schema)

    def _plain(self, schema: Json) -> str:
        kind = schema.get("type")
        if kind == "array":
            return f"list of {self._type(schema['items'])}{_range(schema, 'Items', '')}"
        if kind == "string":
            word = _FORMATS.get(schema.get("format", ""), schema.get("contentEncoding", "text"))
            return f"{word}{_range(schema, 'Length', ' characters')}{_pattern(schema)}"
        if kind == "integer":
            return f"integer{_range(schema, '', '')}"
        if isinstance(kind, list):
            return " or ".join(_TYPES[each] for each in kind)
        return _TYPES.get(str(kind), "anything")

    def _resolved(self, described: Json) -> Json:
        if "$ref" not in described:
            return described
        found: Any = self._document
        for part in described["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return dict(found)


def _called(method: str, path: str) -> str:
    return f'<span class="method {method.lower()}">{method}</span> <code>{escape(path)}</code>'


def _problem(response: Json) -> tuple[str, str]:
    schema = response["content"]["application/problem+json"]["schema"]["properties"]
    (kind,) = schema["type"]["enum"]
    term = f'<code id="{_anchor(kind)}">{escape(_last(kind))}</code>'
    said = f'<p>{escape(response["description"])}</p><p class="type"><code>{escape(kind)}</code></p>'
    return f'{term} <span class="quiet">{schema["status"]["const"]}</span>', said


def _list(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>\n" + "".join(f"<div><dt>{term}</dt><dd>{said}</dd></div>\n" for term, said in rows) + "</dl>\n"


def _example(title: str, example: object) -> str:
    shown = escape(json.dumps(example, ensure_ascii=False, indent=2), quote=False)
    return f"<details><summary>{title}</summary>\n<pre><code>{shown}</code></pre></details>\n"


def _range(schema: Json, what: str, unit: str) -> str:
    if what:
        low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    else:
        low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return ""
    if low is None:
        return f", at most {high:,}{unit}"
    return f", at least {low:,}{unit}" if high is None else f", {low:,} to {high:,}{unit}"


def _pattern(schema: Json) -> str:
    pattern = schema.get("pattern")
    return f", matching <code>{escape(pattern)}</code>" if pattern else ""


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_text(part)}</p>\n" for part in text.split("\n\n") if part)


def _text(text: str) -> str:
    """Text with code between backquotes."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name).lower()


def _last(kind: str) -> str:
    return kind.rpartition(":")[2]


def _last_part(reference: str) -> str:
    return reference.rpartition("/")[2]
