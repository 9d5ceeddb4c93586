from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tombstone(_message.Message):
    __slots__ = ("erasure_id", "event_keys", "session_tags", "nodes")
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_KEYS_FIELD_NUMBER: _ClassVar[int]
    SESSION_TAGS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    erasure_id: str
    event_keys: _containers.RepeatedScalarFieldContainer[bytes]
    session_tags: _containers.RepeatedScalarFieldContainer[str]
    nodes: _containers.RepeatedCompositeFieldContainer[ErasedNode]
    def __init__(self, erasure_id: _Optional[str] = ..., event_keys: _Optional[_Iterable[bytes]] = ..., session_tags: _Optional[_Iterable[str]] = ..., nodes: _Optional[_Iterable[_Union[ErasedNode, _Mapping]]] = ...) -> None: ...

class ErasedNode(_message.Message):
    __slots__ = ("key", "node_id", "number")
    KEY_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    node_id: str
    number: int
    def __init__(self, key: _Optional[bytes] = ..., node_id: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class Selector(_message.Message):
    __slots__ = ("kind", "event_ids", "name", "since_us", "until_us", "metadata")
    KIND_FIELD_NUMBER: _ClassVar[int]
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SINCE_US_FIELD_NUMBER: _ClassVar[int]
    UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    kind: str
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    name: str
    since_us: int
    until_us: int
    metadata: str
    def __init__(self, kind: _Optional[str] = ..., event_ids: _Optional[_Iterable[str]] = ..., name: _Optional[str] = ..., since_us: _Optional[int] = ..., until_us: _Optional[int] = ..., metadata: _Optional[str] = ...) -> None: ...

class ErasureRecord(_message.Message):
    __slots__ = ("erasure_id", "tenant", "memory", "selector_kind", "selector_digest", "nonce", "sealed", "reason", "requested_by", "undo_until_us", "state", "begun", "times", "counts", "sweep", "with_memory", "step", "probe")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class SweepEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ProbeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_KIND_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_DIGEST_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    UNDO_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BEGUN_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SWEEP_FIELD_NUMBER: _ClassVar[int]
    WITH_MEMORY_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    erasure_id: str
    tenant: str
    memory: str
    selector_kind: str
    selector_digest: str
    nonce: bytes
    sealed: bytes
    reason: str
    requested_by: str
    undo_until_us: int
    state: str
    begun: bool
    times: _containers.RepeatedCompositeFieldContainer[StateTime]
    counts: _containers.ScalarMap[str, int]
    sweep: _containers.ScalarMap[str, int]
    with_memory: bool
    step: str
    probe: _containers.ScalarMap[str, int]
    def __init__(self, erasure_id: _Optional[str] = ..., tenant: _Optional[str] = ..., memory: _Optional[str] = ..., selector_kind: _Optional[str] = ..., selector_digest: _Optional[str] = ..., nonce: _Optional[bytes] = ..., sealed: _Optional[bytes] = ..., reason: _Optional[str] = ..., requested_by: _Optional[str] = ..., undo_until_us: _Optional[int] = ..., state: _Optional[str] = ..., begun: _Optional[bool] = ..., times: _Optional[_Iterable[_Union[StateTime, _Mapping]]] = ..., counts: _Optional[_Mapping[str, int]] = ..., sweep: _Optional[_Mapping[str, int]] = ..., with_memory: _Optional[bool] = ..., step: _Optional[str] = ..., probe: _Optional[_Mapping[str, int]] = ...) -> None: ...

class StateTime(_message.Message):
    __slots__ = ("state", "at_us")
    STATE_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    state: str
    at_us: int
    def __init__(self, state: _Optional[str] = ..., at_us: _Optional[int] = ...) -> None: ...

class ErasureMark(_message.Message):
    __slots__ = ("count", "under_way", "unlisted")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    UNDER_WAY_FIELD_NUMBER: _ClassVar[int]
    UNLISTED_FIELD_NUMBER: _ClassVar[int]
    count: int
    under_way: _containers.RepeatedCompositeFieldContainer[ErasureUnderWay]
    unlisted: bool
    def __init__(self, count: _Optional[int] = ..., under_way: _Optional[_Iterable[_Union[ErasureUnderWay, _Mapping]]] = ..., unlisted: _Optional[bool] = ...) -> None: ...

class ErasureUnderWay(_message.Message):
    __slots__ = ("tenant", "memory", "erasure_id")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    memory: str
    erasure_id: str
    def __init__(self, tenant: _Optional[str] = ..., memory: _Optional[str] = ..., erasure_id: _Optional[str] = ...) -> None: ...

class ErasureRequest(_message.Message):
    __slots__ = ("erasure_id", "digest")
    ERASURE_ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    erasure_id: str
    digest: str
    def __init__(self, erasure_id: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Hold(_message.Message):
    __slots__ = ("name", "nonce", "sealed", "set_by", "set_us")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    SET_BY_FIELD_NUMBER: _ClassVar[int]
    SET_US_FIELD_NUMBER: _ClassVar[int]
    name: str
    nonce: bytes
    sealed: bytes
    set_by: str
    set_us: int
    def __init__(self, name: _Optional[str] = ..., nonce: _Optional[bytes] = ..., sealed: _Optional[bytes] = ..., set_by: _Optional[str] = ..., set_us: _Optional[int] = ...) -> None: ...
