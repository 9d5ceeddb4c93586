from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Grip(_message.Message):
    __slots__ = ("grip_id", "excerpt", "first", "last", "session_id", "occurred_us", "speaker")
    GRIP_ID_FIELD_NUMBER: _ClassVar[int]
    EXCERPT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_US_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    grip_id: str
    excerpt: str
    first: str
    last: str
    session_id: str
    occurred_us: int
    speaker: str
    def __init__(self, grip_id: _Optional[str] = ..., excerpt: _Optional[str] = ..., first: _Optional[str] = ..., last: _Optional[str] = ..., session_id: _Optional[str] = ..., occurred_us: _Optional[int] = ..., speaker: _Optional[str] = ...) -> None: ...

class Bullet(_message.Message):
    __slots__ = ("text", "grips")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    GRIPS_FIELD_NUMBER: _ClassVar[int]
    text: str
    grips: _containers.RepeatedCompositeFieldContainer[Grip]
    def __init__(self, text: _Optional[str] = ..., grips: _Optional[_Iterable[_Union[Grip, _Mapping]]] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("node_id", "title", "bullets", "keywords", "children", "events", "event_count", "first_us", "last_us", "agents", "session_id", "author", "degraded", "inputs", "gone")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    BULLETS_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_US_FIELD_NUMBER: _ClassVar[int]
    LAST_US_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    title: str
    bullets: _containers.RepeatedCompositeFieldContainer[Bullet]
    keywords: _containers.RepeatedScalarFieldContainer[str]
    children: _containers.RepeatedScalarFieldContainer[str]
    events: _containers.RepeatedScalarFieldContainer[str]
    event_count: int
    first_us: int
    last_us: int
    agents: _containers.RepeatedScalarFieldContainer[str]
    session_id: str
    author: str
    degraded: str
    inputs: str
    gone: bool
    def __init__(self, node_id: _Optional[str] = ..., title: _Optional[str] = ..., bullets: _Optional[_Iterable[_Union[Bullet, _Mapping]]] = ..., keywords: _Optional[_Iterable[str]] = ..., children: _Optional[_Iterable[str]] = ..., events: _Optional[_Iterable[str]] = ..., event_count: _Optional[int] = ..., first_us: _Optional[int] = ..., last_us: _Optional[int] = ..., agents: _Optional[_Iterable[str]] = ..., session_id: _Optional[str] = ..., author: _Optional[str] = ..., degraded: _Optional[str] = ..., inputs: _Optional[str] = ..., gone: _Optional[bool] = ...) -> None: ...
