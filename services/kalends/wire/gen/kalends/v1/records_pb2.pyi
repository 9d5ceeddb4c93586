from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Memory(_message.Message):
    __slots__ = ("name", "isolation", "description", "created_us", "quota_events", "quota_bytes", "redaction", "redaction_kinds", "retention", "owner", "handed_over_us", "rewrapped_us", "handed_over_reason")
    class RedactionKindsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: RedactionActions
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[RedactionActions, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    QUOTA_EVENTS_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    REDACTION_FIELD_NUMBER: _ClassVar[int]
    REDACTION_KINDS_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    HANDED_OVER_US_FIELD_NUMBER: _ClassVar[int]
    REWRAPPED_US_FIELD_NUMBER: _ClassVar[int]
    HANDED_OVER_REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    isolation: str
    description: str
    created_us: int
    quota_events: int
    quota_bytes: int
    redaction: RedactionActions
    redaction_kinds: _containers.MessageMap[str, RedactionActions]
    retention: Retention
    owner: str
    handed_over_us: int
    rewrapped_us: int
    handed_over_reason: str
    def __init__(self, name: _Optional[str] = ..., isolation: _Optional[str] = ..., description: _Optional[str] = ..., created_us: _Optional[int] = ..., quota_events: _Optional[int] = ..., quota_bytes: _Optional[int] = ..., redaction: _Optional[_Union[RedactionActions, _Mapping]] = ..., redaction_kinds: _Optional[_Mapping[str, RedactionActions]] = ..., retention: _Optional[_Union[Retention, _Mapping]] = ..., owner: _Optional[str] = ..., handed_over_us: _Optional[int] = ..., rewrapped_us: _Optional[int] = ..., handed_over_reason: _Optional[str] = ...) -> None: ...

class Retention(_message.Message):
    __slots__ = ("rule", "kinds", "pinned_kinds", "session_only")
    class KindsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: RetentionRule
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[RetentionRule, _Mapping]] = ...) -> None: ...
    RULE_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    PINNED_KINDS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ONLY_FIELD_NUMBER: _ClassVar[int]
    rule: RetentionRule
    kinds: _containers.MessageMap[str, RetentionRule]
    pinned_kinds: _containers.RepeatedScalarFieldContainer[str]
    session_only: bool
    def __init__(self, rule: _Optional[_Union[RetentionRule, _Mapping]] = ..., kinds: _Optional[_Mapping[str, RetentionRule]] = ..., pinned_kinds: _Optional[_Iterable[str]] = ..., session_only: _Optional[bool] = ...) -> None: ...

class RetentionRule(_message.Message):
    __slots__ = ("max_age_days", "max_events")
    MAX_AGE_DAYS_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENTS_FIELD_NUMBER: _ClassVar[int]
    max_age_days: int
    max_events: int
    def __init__(self, max_age_days: _Optional[int] = ..., max_events: _Optional[int] = ...) -> None: ...

class RedactionActions(_message.Message):
    __slots__ = ("actions",)
    class ActionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    actions: _containers.ScalarMap[str, str]
    def __init__(self, actions: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Document(_message.Message):
    __slots__ = ("document_id", "content_hash", "chunk_ids", "updated_us", "key_ref", "nonce", "sealed", "revision_number", "pending", "stale_chunk_ids")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    CHUNK_IDS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_US_FIELD_NUMBER: _ClassVar[int]
    KEY_REF_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    REVISION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    STALE_CHUNK_IDS_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    content_hash: bytes
    chunk_ids: _containers.RepeatedScalarFieldContainer[str]
    updated_us: int
    key_ref: bytes
    nonce: bytes
    sealed: bytes
    revision_number: int
    pending: bool
    stale_chunk_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, document_id: _Optional[str] = ..., content_hash: _Optional[bytes] = ..., chunk_ids: _Optional[_Iterable[str]] = ..., updated_us: _Optional[int] = ..., key_ref: _Optional[bytes] = ..., nonce: _Optional[bytes] = ..., sealed: _Optional[bytes] = ..., revision_number: _Optional[int] = ..., pending: _Optional[bool] = ..., stale_chunk_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DocumentTitle(_message.Message):
    __slots__ = ("title", "source", "labels")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    title: str
    source: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, title: _Optional[str] = ..., source: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class Canary(_message.Message):
    __slots__ = ("key_ref", "nonce", "sealed", "former_key_refs", "within", "gone", "state", "since_us", "asked_us", "set_us", "set_by")
    KEY_REF_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    FORMER_KEY_REFS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_US_FIELD_NUMBER: _ClassVar[int]
    ASKED_US_FIELD_NUMBER: _ClassVar[int]
    SET_US_FIELD_NUMBER: _ClassVar[int]
    SET_BY_FIELD_NUMBER: _ClassVar[int]
    key_ref: bytes
    nonce: bytes
    sealed: bytes
    former_key_refs: _containers.RepeatedScalarFieldContainer[bytes]
    within: int
    gone: int
    state: str
    since_us: int
    asked_us: int
    set_us: int
    set_by: str
    def __init__(self, key_ref: _Optional[bytes] = ..., nonce: _Optional[bytes] = ..., sealed: _Optional[bytes] = ..., former_key_refs: _Optional[_Iterable[bytes]] = ..., within: _Optional[int] = ..., gone: _Optional[int] = ..., state: _Optional[str] = ..., since_us: _Optional[int] = ..., asked_us: _Optional[int] = ..., set_us: _Optional[int] = ..., set_by: _Optional[str] = ...) -> None: ...

class CanaryQuestion(_message.Message):
    __slots__ = ("question", "expect")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    question: str
    expect: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, question: _Optional[str] = ..., expect: _Optional[_Iterable[str]] = ...) -> None: ...

class Seal(_message.Message):
    __slots__ = ("log_id", "wrapped")
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    WRAPPED_FIELD_NUMBER: _ClassVar[int]
    log_id: bytes
    wrapped: bytes
    def __init__(self, log_id: _Optional[bytes] = ..., wrapped: _Optional[bytes] = ...) -> None: ...
