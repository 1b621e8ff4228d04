"""Parsing of request bodies to inputs: JSON, multipart/form-data, or one raw image or text. Nothing is decoded here.

A request's key (X-Request-Key, else the request id) determines whether champion or challenger answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from service.api.json_body import validated, validated_json
from service.api.json_limits import check_json_size
from service.api.raw_request import RawRequest
from service.api.schemas import MAX_KEY, PredictItem, PredictQuery, PredictRequest
from service.engine import PredictInput
from service.engine.version_routing import TriggerSelector
from service.errors import ClientDisconnected, ProblemError
from triggers.preprocessing.text_content import decode_text, known_charset

ACCEPTED = "application/json, multipart/form-data, image/*, application/octet-stream, text/plain"

DISCONNECTED_EARLY = "The client went away while it sent its request."

_RAW_FIELDS = "latin-1"


class QueryDefaults(NamedTuple):
    """Options in the query parameters; the body overrides them."""

    group: str | None = None
    trigger: str | None = None
    twin: bool = False
    key: str = ""


NO_QUERY_DEFAULTS = QueryDefaults()


def read_query(scope: Scope) -> QueryDefaults:
    """The query parameters of predict; of one given twice, the last. Raises ProblemError."""
    if not scope["query_string"]:
        return NO_QUERY_DEFAULTS
    given = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    known = validated(lambda: PredictQuery.model_validate(given), "query")
    return QueryDefaults(known.group, known.trigger, known.twin)


async def read_body(receive: Receive) -> bytes:
    """The whole body. Raises ClientDisconnected if the client leaves before its end."""
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected(DISCONNECTED_EARLY)
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def read_inputs(raw_request: RawRequest, defaults: QueryDefaults, max_items: int) -> list[PredictInput]:
    """All inputs of a predict request, in order. Raises ProblemError."""
    content_type = raw_request.header(b"content-type") or ""
    media = _media(content_type)
    if media == "application/json" or media.endswith("+json"):
        body = await read_body(raw_request.receive)
        check_json_size(body, max_items)
        wanted = from_json(body, defaults)
    elif media == "multipart/form-data":
        try:
            async with Request(_with_raw_fields(raw_request), raw_request.receive).form(
                max_files=max_items + 1, max_fields=3 * max_items + 3
            ) as form:
                wanted = await from_form(form, defaults)
        except ClientDisconnect as error:
            raise ClientDisconnected(DISCONNECTED_EARLY) from error
    elif media.startswith("image/") or media in ("application/octet-stream", "text/plain"):
        charset = stated_charset(content_type) if media == "text/plain" else "utf-8"
        wanted = [from_raw(await read_body(raw_request.receive), media, defaults)._replace(charset=charset)]
    else:
        raise ProblemError(415, "unsupported_media_type", f"Content-Type is {media!r}; accepted: {ACCEPTED}.")
    check_count(len(wanted), max_items)
    return wanted


def check_count(items: int, limit: int) -> None:
    """Raise 413 if one request holds more inputs than it may."""
    if items > limit:
        detail = f"The request has {items} inputs; at most {limit} are accepted. Split it."
        raise ProblemError(413, "too_many_items", detail)


def from_json(body: bytes, defaults: QueryDefaults) -> list[PredictInput]:
    """The inputs of a JSON body."""
    parsed = validated_json(PredictRequest, body)
    groups = parsed.group if isinstance(parsed.group, list) else [parsed.group] * len(parsed.inputs)
    trigger, key = parsed.trigger or defaults.trigger, parsed.key or defaults.key
    twin = defaults.twin if parsed.twin is None else parsed.twin
    return [
        _from_item(item, QueryDefaults(group or defaults.group, trigger, twin, key))
        for item, group in zip(parsed.inputs, groups, strict=True)
    ]


async def from_form(form: FormData, defaults: QueryDefaults) -> list[PredictInput]:
    """Files and `text` fields, each one input, in order; `group` once or once per input, `trigger` and `twin` once."""
    contents: list[tuple[Literal["file", "text"], bytes, str]] = []
    fields: dict[str, list[str]] = {"group": [], "trigger": [], "twin": []}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            kind = value.content_type or ""
            charset = stated_charset(kind) if _media(kind).startswith("text/") else "utf-8"
            contents.append(("file", await value.read(), charset))
        elif name == "text":
            contents.append(("text", value.encode(_RAW_FIELDS), "utf-8"))
        elif name in fields:
            fields[name].append(decode_text(value.encode(_RAW_FIELDS)))
        else:
            known = "files, text, group, trigger, twin"
            raise ProblemError(422, "unknown_field", f"The form has a field {name!r}; known: {known}.")
    if not contents:
        raise ProblemError(422, "no_inputs", "The form holds no file and no `text` field.")
    options = _form_options(fields, len(contents), defaults)
    return [
        PredictInput(
            kind, payload, group, parse_selector(options.trigger), options.twin, key=defaults.key, charset=charset
        )
        for (kind, payload, charset), group in zip(
            contents, _form_groups(fields["group"], len(contents), defaults), strict=True
        )
    ]


def from_raw(body: bytes, media: str, defaults: QueryDefaults) -> PredictInput:
    """One image or text that is the whole body."""
    kind: Literal["image", "text", "file"] = "image" if media.startswith("image/") else "file"
    kind = "text" if media == "text/plain" else kind
    return PredictInput(kind, body, defaults.group, parse_selector(defaults.trigger), defaults.twin, key=defaults.key)


def stated_charset(content_type: str) -> str:
    """The encoding that a Content-Type states, UTF-8 if none. Raises ProblemError (415) for one that is not known."""
    if "charset" not in content_type.lower():
        return "utf-8"
    charset = parse_options_header(content_type)[1].get(b"charset", b"utf-8").decode("latin-1")
    if not known_charset(charset):
        detail = f"The charset is {charset[:100]!r}, which is not known here; send the text in UTF-8."
        raise ProblemError(415, "unsupported_charset", detail)
    return charset


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _with_raw_fields(raw_request: RawRequest) -> Scope:
    """The scope of a form whose fields come out byte for byte; else Starlette guesses where one is not UTF-8."""
    stated = (raw_request.header(b"content-type") or "") + f"; charset={_RAW_FIELDS}"
    others = [(name, value) for name, value in raw_request.scope["headers"] if name != b"content-type"]
    return {**raw_request.scope, "headers": [(b"content-type", stated.encode("latin-1")), *others]}


def parse_version(name: str) -> int:
    """`v7` or `7` to 7."""
    return int(name.removeprefix("v"))


def _from_item(item: PredictItem, defaults: QueryDefaults) -> PredictInput:
    kind: Literal["image", "text"] = "image" if item.image is not None else "text"
    payload = item.image if item.image is not None else item.text
    assert payload is not None
    twin = defaults.twin if item.twin is None else item.twin
    chosen = parse_selector(item.trigger or defaults.trigger)
    group, key = item.group or defaults.group, item.key or defaults.key
    return PredictInput(kind, payload, group, chosen, twin, encoded=kind == "image", key=key)


def parse_selector(trigger: str | None) -> TriggerSelector:
    """The TriggerSelector of a validated trigger name; None leaves the choice to the rollout."""
    if trigger is None:
        return "rollout"
    if trigger == "champion":
        return "champion"
    if trigger == "challenger":
        return "challenger"
    return None if trigger == "none" else parse_version(trigger)


def _form_options(fields: dict[str, list[str]], items: int, defaults: QueryDefaults) -> QueryDefaults:
    """The form's single-valued fields, checked by the same schema as JSON."""
    for name in ("trigger", "twin"):
        if len(fields[name]) > 1:
            raise ProblemError(
                422, "invalid_request", f"The form gives `{name}` {len(fields[name])} times; give it once."
            )
    twin = fields["twin"][0].lower() if fields["twin"] else str(defaults.twin).lower()
    if twin not in ("true", "false", "1", "0"):
        raise ProblemError(422, "invalid_request", f"twin is {twin!r}; say true or false.")
    trigger = fields["trigger"][0] if fields["trigger"] else defaults.trigger
    _checked(trigger, fields["group"])
    return QueryDefaults(None, trigger, twin in ("true", "1"))


def _checked(trigger: str | None, groups: Sequence[str]) -> None:
    for group in groups or [""]:
        validated(partial(PredictItem, text="-", group=group or None, trigger=trigger))


def _form_groups(groups: list[str], items: int, defaults: QueryDefaults) -> list[str | None]:
    """One group for all, or one per input; an empty field is an unknown group."""
    if len(groups) <= 1:
        return [(groups[0] if groups else "") or defaults.group] * items
    if len(groups) != items:
        raise ProblemError(422, "invalid_request", f"The form gives {len(groups)} groups for {items} inputs.")
    return [group or None for group in groups]


def request_key(header: str | None, request_id: str) -> str:
    """The X-Request-Key header, else the request's id. Raises ProblemError."""
    if header is None:
        return request_id
    if not 1 <= len(header) <= MAX_KEY:
        raise ProblemError(422, "invalid_request", f"X-Request-Key has {len(header)} characters; send 1 to {MAX_KEY}.")
    return header
