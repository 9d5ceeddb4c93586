"""Settings: frozen structs, the one source of defaults, environment variables and the file ``config.toml``.

Belongs here: what can be set, its unit, its bounds and why its default is what it is. Does not belong here: reading a setting anywhere
else than from an argument. A newcomer would get wrong: the name of a variable is ``KALENDS_<GROUP>__<FIELD>`` with two underscores.
"""

from kalends.settings.backups import ArchiveSettings, BackupSettings, S3Settings
from kalends.settings.guarding import ApprovalSettings, AuditSettings, LimitSettings, NetworkSettings
from kalends.settings.identities import AgentSettings, IssuerSettings, KubernetesSettings, OidcSettings, WorkloadSettings
from kalends.settings.loading import load, table
from kalends.settings.telemetry import TelemetrySettings
from kalends.settings.tree import (
    AuthSettings,
    EmbedderSettings,
    ErasureSettings,
    HttpSettings,
    IndexSettings,
    IngestSettings,
    LogSettings,
    ModelSettings,
    OpensearchSettings,
    QdrantSettings,
    RerankerSettings,
    SchedulerSettings,
    SearchSettings,
    Settings,
    SummarizeSettings,
)
from kalends.settings.trust import KeysSettings, TlsSettings

__all__ = [
    "AgentSettings",
    "ApprovalSettings",
    "ArchiveSettings",
    "AuditSettings",
    "AuthSettings",
    "BackupSettings",
    "EmbedderSettings",
    "ErasureSettings",
    "HttpSettings",
    "IndexSettings",
    "IngestSettings",
    "IssuerSettings",
    "KeysSettings",
    "KubernetesSettings",
    "LimitSettings",
    "LogSettings",
    "ModelSettings",
    "NetworkSettings",
    "OidcSettings",
    "OpensearchSettings",
    "QdrantSettings",
    "RerankerSettings",
    "S3Settings",
    "SchedulerSettings",
    "SearchSettings",
    "Settings",
    "SummarizeSettings",
    "TelemetrySettings",
    "TlsSettings",
    "WorkloadSettings",
    "load",
    "table",
]
