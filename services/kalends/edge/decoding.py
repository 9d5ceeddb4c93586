"""Reading what callers send: JSON bodies and query strings, strictly.

Belongs here: every way in which bytes from outside can be wrong. Does not belong here: rules of the domain. A newcomer would get wrong:
msgspec reports invalid UTF-8, deep nesting and huge numbers each with an error of another type, and accepts integers that no store holds.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from kalends.domain.errors import Fault, Invalid, KalendsError, Malformed

T = TypeVar("T")

_PLACE = re.compile(r" - at `(?:(?P<key>key|.*?)` in `)?(?P<path>\$[^`]*)`$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\[(?P<index>\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*?)`", re.DOTALL)
_MANY_DIGITS = re.compile(rb"[0-9]{19}")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LARGEST = 1 << 63


def body_of(decoder: "msgspec.json.Decoder[T]", raw: bytes, *, numbers: bool = True) -> T:
    """*raw* as the decoder's type; without *numbers* its integers are not looked at (``check_numbers`` does).

    Raises:
        Malformed: it is no JSON text in UTF-8, or nested too deeply.
        Invalid: it is JSON, but not what the type allows; the fault has a pointer.
    """
    try:
        decoded = decoder.decode(raw)
        if numbers:
            check_numbers(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise refusal(error) from None
    return decoded


def check_numbers(raw: bytes) -> None:
    """Refuse integers in the JSON *raw* that no store holds.

    Raises:
        Invalid: one needs more than 64 bits; the fault has a pointer.
    """
    if _MANY_DIGITS.search(raw):
        _refuse_huge(msgspec.json.decode(raw), "")


def refusal(error: Exception) -> KalendsError:
    """What msgspec found wrong, in the domain's words; never the foreign error's own type."""
    if isinstance(error, msgspec.ValidationError):
        fault = fault_of(str(error))
        return Invalid(fault.detail, faults=[fault])
    if isinstance(error, UnicodeDecodeError):
        return Malformed("the body is not valid UTF-8")
    if isinstance(error, RecursionError):
        return Malformed("the body is nested too deeply")
    return Malformed(f"the body is not valid JSON: {error}")


def fault_of(message: str) -> Fault:
    """Msgspec's *message* as a fault: ``… - at `$.events[0].text``` becomes the pointer ``/events/0/text``."""
    found = _PLACE.search(message)
    pointer = pointer_of(found["path"]) if found else ""
    detail = message[: found.start()] if found else message
    for pattern, code, told in ((_UNKNOWN, "unknown_field", "is not a known field"), (_MISSING, "missing", "is required")):
        named = pattern.match(detail)
        if named:
            return Fault(pointer=f"{pointer}/{escaped(named['name'])}", detail=told, code=code)
    return Fault(pointer=pointer, detail=detail[:1].lower() + detail[1:], code="type")


def pointer_of(path: str) -> str:
    """Msgspec's ``$.a[0].b`` as the JSON pointer ``/a/0/b``; it ends before a step that msgspec does not name (``[...]``)."""
    pointer, at = "", 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            break
        pointer += f"/{step['name'] or step['index']}"
        at = step.end()
    return pointer


def escaped(name: str) -> str:
    """*name* as one step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def percent_decoded(text: str, *, what: str) -> str:
    """*text* without its percent escapes.

    Raises:
        Malformed: an escape is broken, or the bytes are not UTF-8.
        Invalid: it holds NUL.
    """
    if "%" in text:
        if _BROKEN_ESCAPE.search(text):
            raise Malformed(f"{what} has a broken percent escape")
        try:
            text = unquote_to_bytes(text).decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"{what} is not valid UTF-8") from None
    elif not text.isascii():
        raise Malformed(f"{what} holds bytes that must be percent-encoded")
    if "\0" in text:
        detail = "holds NUL"
        raise Invalid(f"{what} {detail}", faults=[Fault(pointer="", detail=detail, code="character")])
    return text


def parameters_of(query_string: bytes) -> dict[str, str]:
    """The parameters of a URL's query.

    Raises:
        Malformed: broken escapes or invalid UTF-8.
        Invalid: NUL, or a parameter that comes twice.
    """
    found: dict[str, str] = {}
    if not query_string:
        return found
    for pair in query_string.decode("latin-1").replace("+", " ").split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        name = percent_decoded(name, what="a query parameter's name")
        if name in found:
            detail = "is given more than once"
            raise Invalid(f"query parameter {detail}", faults=[Fault(pointer=f"/{escaped(name)}", detail=detail, code="repeated")])
        found[name] = percent_decoded(value, what="a query parameter")
    return found


def query_of(kind: type[T] | None, parameters: Mapping[str, Any]) -> T | None:
    """*parameters* as an operation's query struct; text is read as the field's type.

    Raises:
        Invalid: an unknown parameter, or a value that the type does not allow.
    """
    if kind is None:
        if parameters:
            name = next(iter(parameters))
            detail = "is not a known parameter"
            raise Invalid(f"query parameter {detail}", faults=[Fault(pointer=f"/{escaped(name)}", detail=detail, code="unknown_field")])
        return None
    try:
        query = msgspec.convert(parameters, kind, strict=False)
    except msgspec.ValidationError as error:
        raise refusal(error) from None
    if parameters:
        for field in msgspec.structs.fields(kind):  # type: ignore[arg-type]  # the table only holds structs
            if field.encode_name in parameters:
                _refuse_odd(getattr(query, field.name), parameters[field.encode_name], pointer=f"/{field.encode_name}")
    return query


def _refuse_odd(value: object, given: object, *, pointer: str) -> None:
    """Refuse what msgspec reads from text although the contract has no such values: NaN, huge integers, times as numbers, null."""
    if value is None and given is not None:
        raise _odd(pointer, "must be given as a value or left out", "type")
    if isinstance(value, datetime):
        if not (isinstance(given, str) and given[4:5] == "-"):
            raise _odd(pointer, "must be an RFC 3339 time", "type")
    else:
        _refuse_huge(value, pointer)


def _refuse_huge(value: object, pointer: str) -> None:
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise _odd(pointer, "must fit 64 bits", "range")
    if isinstance(value, float) and not math.isfinite(value):
        raise _odd(pointer, "must be a finite number", "range")
    if isinstance(value, dict):
        for name, member in value.items():
            _refuse_huge(member, f"{pointer}/{escaped(str(name))}")
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _refuse_huge(member, f"{pointer}/{index}")


def _odd(pointer: str, detail: str, code: str) -> Invalid:
    return Invalid(detail, faults=[Fault(pointer=pointer, detail=detail, code=code)])
