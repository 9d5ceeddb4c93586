from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
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

class Operation(_message.Message):
    __slots__ = ("operation_id", "subject", "state", "created_us", "updated_us", "done", "total", "error", "tenant", "dry_run", "kind", "memory", "since", "result", "place", "arguments")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    UPDATED_US_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    subject: str
    state: str
    created_us: int
    updated_us: int
    done: int
    total: int
    error: str
    tenant: str
    dry_run: bool
    kind: str
    memory: str
    since: str
    result: str
    place: str
    arguments: _containers.ScalarMap[str, str]
    def __init__(self, operation_id: _Optional[str] = ..., subject: _Optional[str] = ..., state: _Optional[str] = ..., created_us: _Optional[int] = ..., updated_us: _Optional[int] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., error: _Optional[str] = ..., tenant: _Optional[str] = ..., dry_run: _Optional[bool] = ..., kind: _Optional[str] = ..., memory: _Optional[str] = ..., since: _Optional[str] = ..., result: _Optional[str] = ..., place: _Optional[str] = ..., arguments: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Generation(_message.Message):
    __slots__ = ("current", "made")
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    MADE_FIELD_NUMBER: _ClassVar[int]
    current: str
    made: bool
    def __init__(self, current: _Optional[str] = ..., made: _Optional[bool] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("name", "cron", "is_paused", "is_running", "last_run_us", "last_started_us", "next_run_us", "run_count", "error_count", "last_result", "last_error", "last_duration_s", "checkpoint", "term", "run_id", "tries", "wanted", "granted", "resets", "resets_done")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CRON_FIELD_NUMBER: _ClassVar[int]
    IS_PAUSED_FIELD_NUMBER: _ClassVar[int]
    IS_RUNNING_FIELD_NUMBER: _ClassVar[int]
    LAST_RUN_US_FIELD_NUMBER: _ClassVar[int]
    LAST_STARTED_US_FIELD_NUMBER: _ClassVar[int]
    NEXT_RUN_US_FIELD_NUMBER: _ClassVar[int]
    RUN_COUNT_FIELD_NUMBER: _ClassVar[int]
    ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_RESULT_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    LAST_DURATION_S_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TRIES_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    RESETS_FIELD_NUMBER: _ClassVar[int]
    RESETS_DONE_FIELD_NUMBER: _ClassVar[int]
    name: str
    cron: str
    is_paused: bool
    is_running: bool
    last_run_us: int
    last_started_us: int
    next_run_us: int
    run_count: int
    error_count: int
    last_result: str
    last_error: str
    last_duration_s: float
    checkpoint: str
    term: int
    run_id: str
    tries: int
    wanted: int
    granted: int
    resets: int
    resets_done: int
    def __init__(self, name: _Optional[str] = ..., cron: _Optional[str] = ..., is_paused: _Optional[bool] = ..., is_running: _Optional[bool] = ..., last_run_us: _Optional[int] = ..., last_started_us: _Optional[int] = ..., next_run_us: _Optional[int] = ..., run_count: _Optional[int] = ..., error_count: _Optional[int] = ..., last_result: _Optional[str] = ..., last_error: _Optional[str] = ..., last_duration_s: _Optional[float] = ..., checkpoint: _Optional[str] = ..., term: _Optional[int] = ..., run_id: _Optional[str] = ..., tries: _Optional[int] = ..., wanted: _Optional[int] = ..., granted: _Optional[int] = ..., resets: _Optional[int] = ..., resets_done: _Optional[int] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("holder", "term", "beat", "ttl_s")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    holder: str
    term: int
    beat: int
    ttl_s: float
    def __init__(self, holder: _Optional[str] = ..., term: _Optional[int] = ..., beat: _Optional[int] = ..., ttl_s: _Optional[float] = ...) -> None: ...

class Spending(_message.Message):
    __slots__ = ("day", "tokens")
    DAY_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    day: str
    tokens: int
    def __init__(self, day: _Optional[str] = ..., tokens: _Optional[int] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("projection", "scope")
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    projection: str
    scope: str
    def __init__(self, projection: _Optional[str] = ..., scope: _Optional[str] = ...) -> None: ...

class ModelProbe(_message.Message):
    __slots__ = ("vector",)
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    vector: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, vector: _Optional[_Iterable[float]] = ...) -> None: ...
