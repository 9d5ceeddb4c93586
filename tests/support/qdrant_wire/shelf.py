"""Collections and aliases on disk, and what is done to them.

Belongs here: a collection is a folder with the message that made it and a shard of the engine; which name means which. Does not belong
here: points. A newcomer would get wrong: the actions of one alias update are applied one after the other, and one that fails leaves those
before it done: no server was seen to fail there, so the worse is assumed.
"""

import json
import shutil
from pathlib import Path
from urllib.parse import quote, unquote

import grpc as rpc
import qdrant_edge as edge
from qdrant_client import grpc

from tests.support.qdrant_wire import conversions
from tests.support.qdrant_wire.conversions import Refused


class Collection:
    """One collection: its settings, the fields with an index, and its shard."""

    def __init__(self, folder: Path, made_by: grpc.CreateCollection, shard: edge.EdgeShard) -> None:
        self._folder = folder
        self.made_by = made_by
        self.shard = shard
        self.indexed = dict[str, grpc.CreateFieldIndexCollection]()
        for line in self._index_lines():
            request = grpc.CreateFieldIndexCollection.FromString(bytes.fromhex(line))
            self.indexed[request.field_name] = request

    @classmethod
    def create(cls, folder: Path, request: grpc.CreateCollection) -> "Collection":
        """Make it in a folder under another name first: a kill leaves no half-made one."""
        params = request.vectors_config.params_map.map
        config = edge.EdgeConfig(
            vectors={name: conversions.vector_params(one) for name, one in params.items()},
            hnsw_config=edge.HnswIndexConfig(m=0, ef_construct=64, full_scan_threshold=10_000, max_indexing_threads=1),
            max_search_threads=1,
        )
        half = folder.with_name(f".{folder.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        (half / "shard").mkdir(parents=True)
        edge.EdgeShard.create(str(half / "shard"), config).close()
        (half / "made_by").write_bytes(request.SerializeToString())
        half.rename(folder)
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> "Collection":
        """Open what is in *folder*."""
        made_by = grpc.CreateCollection.FromString((folder / "made_by").read_bytes())
        return cls(folder, made_by, edge.EdgeShard.load(str(folder / "shard")))

    @property
    def sizes(self) -> dict[str, int]:
        """The length of each named vector."""
        return {name: int(params.size) for name, params in self.made_by.vectors_config.params_map.map.items()}

    @property
    def strict(self) -> grpc.StrictModeConfig:
        """What strict mode refuses; nothing unless it is on."""
        config = self.made_by.strict_mode_config
        return config if config.enabled else grpc.StrictModeConfig()

    def index(self, request: grpc.CreateFieldIndexCollection) -> None:
        """Make an index of a field; the same again changes nothing."""
        if request.field_name in self.indexed:
            return
        operation = edge.UpdateOperation.create_field_index(request.field_name, conversions.index_params(request))
        self.shard.update(operation)
        self.indexed[request.field_name] = request
        with (self._folder / "indexes").open("a", encoding="ascii") as file:
            file.write(request.SerializeToString().hex() + "\n")

    def change(self, request: grpc.UpdateCollection) -> None:
        """Note quantization and when to optimize, which this engine does not have, and what strict mode refuses; nothing else changes."""
        known = self.made_by.vectors_config.params_map.map
        for name, diff in request.vectors_config.params_map.map.items():
            if name not in known:
                raise conversions.invalid(f"Not existing vector name error: {name}")
            if diff.quantization_config.HasField("scalar"):
                known[name].quantization_config.scalar.CopyFrom(diff.quantization_config.scalar)
        self.made_by.optimizers_config.MergeFrom(request.optimizers_config)
        self.made_by.strict_mode_config.MergeFrom(request.strict_mode_config)
        _replace(self._folder / "made_by", self.made_by.SerializeToString())

    def delete(self) -> None:
        """Close and delete it."""
        self.shard.close()
        doomed = self._folder.with_name(f".{self._folder.name}.gone")
        self._folder.rename(doomed)
        shutil.rmtree(doomed)

    def info(self) -> grpc.CollectionInfo:
        """What a server says of it."""
        found = grpc.CollectionInfo(
            status=grpc.CollectionStatus.Green,
            optimizer_status=grpc.OptimizerStatus(ok=True),
            segments_count=self.shard.info().segments_count,
            points_count=self.shard.info().points_count,
            payload_schema={name: _schema(request) for name, request in self.indexed.items()},
        )
        found.config.hnsw_config.CopyFrom(grpc.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000))
        found.config.hnsw_config.MergeFrom(self.made_by.hnsw_config)
        found.config.strict_mode_config.CopyFrom(self.made_by.strict_mode_config)
        optimizers = grpc.OptimizersConfigDiff(
            deleted_threshold=0.2, vacuum_min_vector_number=1000, default_segment_number=0, flush_interval_sec=5
        )
        found.config.optimizer_config.CopyFrom(optimizers)
        found.config.optimizer_config.MergeFrom(self.made_by.optimizers_config)
        found.config.wal_config.CopyFrom(grpc.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0))
        params = found.config.params
        params.vectors_config.CopyFrom(self.made_by.vectors_config)
        params.shard_number = self.made_by.shard_number or 1
        params.replication_factor = self.made_by.replication_factor or 1
        params.write_consistency_factor = self.made_by.write_consistency_factor or 1
        params.on_disk_payload = self.made_by.on_disk_payload
        return found

    def _index_lines(self) -> list[str]:
        path = self._folder / "indexes"
        return path.read_text(encoding="ascii").splitlines() if path.exists() else []


class Shelf:
    """Every collection below a folder, and the aliases."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "collections"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._aliases_file = folder / "aliases.json"
        self.aliases: dict[str, str] = json.loads(self._aliases_file.read_bytes()) if self._aliases_file.exists() else {}
        kept = [path for path in sorted(self._folder.iterdir()) if not path.name.startswith(".")]
        self.collections = {unquote(path.name): Collection.load(path) for path in kept}

    def find(self, name: str) -> Collection:
        """The collection of that name or alias."""
        found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise _missing(name)
        return found

    def create(self, request: grpc.CreateCollection) -> None:
        """Make a collection."""
        name = request.collection_name
        if name in self.collections or name in self.aliases:
            raise Refused(rpc.StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{name}` already exists!")
        self.collections[name] = Collection.create(self._folder / quote(name, safe=""), request)

    def delete(self, name: str) -> bool:
        """Delete a collection, with the aliases that name it; whether there was one."""
        found = self.collections.pop(name, None)
        if found is None:
            return False
        found.delete()
        self._save({alias: target for alias, target in self.aliases.items() if target != name})
        return True

    def point(self, actions: list[grpc.AliasOperations]) -> None:
        """Apply alias actions, in this order."""
        for action in actions:
            match action.WhichOneof("action"):
                case "create_alias":
                    self._create_alias(action.create_alias.alias_name, action.create_alias.collection_name)
                case "delete_alias":
                    gone = action.delete_alias.alias_name
                    self._save({alias: target for alias, target in self.aliases.items() if alias != gone})
                case other:
                    raise conversions.unknown(f"the alias action {other}")

    def close(self) -> None:
        """Close every shard."""
        for collection in self.collections.values():
            collection.shard.close()

    def _create_alias(self, alias: str, name: str) -> None:
        if name not in self.collections:
            raise _missing(name)
        if alias in self.collections:
            raise Refused(rpc.StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{alias}` already exists!")
        self._save({**self.aliases, alias: name})

    def _save(self, aliases: dict[str, str]) -> None:
        _replace(self._aliases_file, json.dumps(aliases).encode())
        self.aliases = aliases


def _missing(name: str) -> Refused:
    return Refused(rpc.StatusCode.NOT_FOUND, f"Not found: Collection `{name}` doesn't exist!")


def _schema(request: grpc.CreateFieldIndexCollection) -> grpc.PayloadSchemaInfo:
    types = {
        grpc.FieldType.FieldTypeKeyword: grpc.PayloadSchemaType.Keyword,
        grpc.FieldType.FieldTypeInteger: grpc.PayloadSchemaType.Integer,
    }
    params = request.field_index_params if request.HasField("field_index_params") else None
    return grpc.PayloadSchemaInfo(data_type=types[request.field_type], params=params, points=0)


def _replace(path: Path, content: bytes) -> None:
    half = path.with_name(f".{path.name}.half")
    half.write_bytes(content)
    half.replace(path)
