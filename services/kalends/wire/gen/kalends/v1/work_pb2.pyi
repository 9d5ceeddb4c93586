from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class DeadLetter(_message.Message):
    __slots__ = ("stream", "sequence", "consumer", "reason", "deliveries", "at_us")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    stream: str
    sequence: int
    consumer: str
    reason: str
    deliveries: int
    at_us: int
    def __init__(self, stream: _Optional[str] = ..., sequence: _Optional[int] = ..., consumer: _Optional[str] = ..., reason: _Optional[str] = ..., deliveries: _Optional[int] = ..., at_us: _Optional[int] = ...) -> None: ...

class Reindex(_message.Message):
    __slots__ = ("operation_id", "projection", "state", "created_us", "updated_us", "done", "total", "error", "tenant", "dry_run")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    UPDATED_US_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    projection: str
    state: str
    created_us: int
    updated_us: int
    done: int
    total: int
    error: str
    tenant: str
    dry_run: bool
    def __init__(self, operation_id: _Optional[str] = ..., projection: _Optional[str] = ..., state: _Optional[str] = ..., created_us: _Optional[int] = ..., updated_us: _Optional[int] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., error: _Optional[str] = ..., tenant: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...
