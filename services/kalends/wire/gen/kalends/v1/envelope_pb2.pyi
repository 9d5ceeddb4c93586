from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("schema", "kind", "tenant", "memory", "event_id", "occurred_us", "recorded_us", "key_ref", "nonce", "sealed", "content_mac", "writer", "writer_number", "acked_up_to")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Envelope.Kind]
        KIND_EVENT: _ClassVar[Envelope.Kind]
        KIND_RETRACTION: _ClassVar[Envelope.Kind]
        KIND_NODE: _ClassVar[Envelope.Kind]
        KIND_ERASURE: _ClassVar[Envelope.Kind]
    KIND_UNSPECIFIED: Envelope.Kind
    KIND_EVENT: Envelope.Kind
    KIND_RETRACTION: Envelope.Kind
    KIND_NODE: Envelope.Kind
    KIND_ERASURE: Envelope.Kind
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_US_FIELD_NUMBER: _ClassVar[int]
    RECORDED_US_FIELD_NUMBER: _ClassVar[int]
    KEY_REF_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    CONTENT_MAC_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    WRITER_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ACKED_UP_TO_FIELD_NUMBER: _ClassVar[int]
    schema: int
    kind: Envelope.Kind
    tenant: str
    memory: str
    event_id: str
    occurred_us: int
    recorded_us: int
    key_ref: bytes
    nonce: bytes
    sealed: bytes
    content_mac: bytes
    writer: str
    writer_number: int
    acked_up_to: int
    def __init__(self, schema: _Optional[int] = ..., kind: _Optional[_Union[Envelope.Kind, str]] = ..., tenant: _Optional[str] = ..., memory: _Optional[str] = ..., event_id: _Optional[str] = ..., occurred_us: _Optional[int] = ..., recorded_us: _Optional[int] = ..., key_ref: _Optional[bytes] = ..., nonce: _Optional[bytes] = ..., sealed: _Optional[bytes] = ..., content_mac: _Optional[bytes] = ..., writer: _Optional[str] = ..., writer_number: _Optional[int] = ..., acked_up_to: _Optional[int] = ...) -> None: ...

class Scalar(_message.Message):
    __slots__ = ("text", "integer", "number", "truth")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    text: str
    integer: int
    number: float
    truth: bool
    def __init__(self, text: _Optional[str] = ..., integer: _Optional[int] = ..., number: _Optional[float] = ..., truth: _Optional[bool] = ...) -> None: ...

class Content(_message.Message):
    __slots__ = ("session_id", "kind", "role", "actor", "text", "metadata", "channel", "thread_id", "priority", "trust", "expires_us", "dated", "document_id", "labels")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Scalar
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Scalar, _Mapping]] = ...) -> None: ...
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_US_FIELD_NUMBER: _ClassVar[int]
    DATED_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    kind: str
    role: str
    actor: str
    text: str
    metadata: _containers.MessageMap[str, Scalar]
    channel: str
    thread_id: str
    priority: str
    trust: str
    expires_us: int
    dated: bool
    document_id: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, session_id: _Optional[str] = ..., kind: _Optional[str] = ..., role: _Optional[str] = ..., actor: _Optional[str] = ..., text: _Optional[str] = ..., metadata: _Optional[_Mapping[str, Scalar]] = ..., channel: _Optional[str] = ..., thread_id: _Optional[str] = ..., priority: _Optional[str] = ..., trust: _Optional[str] = ..., expires_us: _Optional[int] = ..., dated: _Optional[bool] = ..., document_id: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class Retraction(_message.Message):
    __slots__ = ("event_ids", "reason")
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    def __init__(self, event_ids: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ...) -> None: ...
