from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Approval(_message.Message):
    __slots__ = ("approval_id", "tenant", "operation", "memories", "arguments", "wide", "requested_by", "makers", "requested_with", "requested_us", "expires_us", "state", "decided_by", "decided_with", "decided_us", "result", "error")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    WIDE_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    MAKERS_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_WITH_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_US_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_US_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    DECIDED_WITH_FIELD_NUMBER: _ClassVar[int]
    DECIDED_US_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    approval_id: str
    tenant: str
    operation: str
    memories: _containers.RepeatedScalarFieldContainer[str]
    arguments: _containers.ScalarMap[str, str]
    wide: bool
    requested_by: str
    makers: _containers.RepeatedScalarFieldContainer[str]
    requested_with: str
    requested_us: int
    expires_us: int
    state: str
    decided_by: str
    decided_with: str
    decided_us: int
    result: str
    error: str
    def __init__(self, approval_id: _Optional[str] = ..., tenant: _Optional[str] = ..., operation: _Optional[str] = ..., memories: _Optional[_Iterable[str]] = ..., arguments: _Optional[_Mapping[str, str]] = ..., wide: _Optional[bool] = ..., requested_by: _Optional[str] = ..., makers: _Optional[_Iterable[str]] = ..., requested_with: _Optional[str] = ..., requested_us: _Optional[int] = ..., expires_us: _Optional[int] = ..., state: _Optional[str] = ..., decided_by: _Optional[str] = ..., decided_with: _Optional[str] = ..., decided_us: _Optional[int] = ..., result: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...
