from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuditEntry(_message.Message):
    __slots__ = ("number", "at_us", "tenant", "actor", "operation", "memory", "outcome", "request_id", "count", "previous", "hash", "refused", "approved_by")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    APPROVED_BY_FIELD_NUMBER: _ClassVar[int]
    number: int
    at_us: int
    tenant: str
    actor: str
    operation: str
    memory: str
    outcome: str
    request_id: str
    count: int
    previous: bytes
    hash: bytes
    refused: bool
    approved_by: str
    def __init__(self, number: _Optional[int] = ..., at_us: _Optional[int] = ..., tenant: _Optional[str] = ..., actor: _Optional[str] = ..., operation: _Optional[str] = ..., memory: _Optional[str] = ..., outcome: _Optional[str] = ..., request_id: _Optional[str] = ..., count: _Optional[int] = ..., previous: _Optional[bytes] = ..., hash: _Optional[bytes] = ..., refused: _Optional[bool] = ..., approved_by: _Optional[str] = ...) -> None: ...

class AuditBlock(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ...) -> None: ...
