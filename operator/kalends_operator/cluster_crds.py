"""``python -m kalends_operator.cluster_crds``: bring the cluster's definitions of our resources up to this version.

Belongs here: applying the CRDs, from the hook of the chart that runs before an upgrade. Does not belong here: what is in them (``crds``). A
newcomer would get wrong: Helm installs what is in ``crds/`` once and never again, so without this an upgrade would leave the definitions of
the version before; and nothing here ever deletes one, for with a definition go all objects of its kind.
"""

import sys

import httpx2
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.generic_resource import create_global_resource

from kalends_operator.crds import manifests
from kalends_operator.crds.resources import RESOURCES

DEADLINE_S = 30.0
"""For one request to the API server, in seconds."""

MANAGER = "kalends-crds"
_FAILED = 1
_KIND = create_global_resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")


def apply() -> list[str]:
    """Apply every definition, server-side; the names of what was applied.

    Raises:
        ApiError: the API server refuses. ConfigError: there is none to be found. httpx2.HTTPError: it does not answer.
    """
    client = Client(config=KubeConfig.from_env(), timeout=httpx2.Timeout(DEADLINE_S), field_manager=MANAGER)
    done = []
    for resource in RESOURCES:
        # what Helm installed is Helm's by name only; it never looks at it again
        client.apply(_KIND.from_dict(manifests.manifest(resource)), name=resource.name, force=True)
        done.append(resource.name)
    return done


def main() -> int:
    """Apply them and say so; the exit status."""
    try:
        for name in apply():
            sys.stdout.write(f"{name} applied\n")
    except (ApiError, ConfigError, httpx2.HTTPError) as error:
        sys.stderr.write(f"the definitions cannot be applied: {error}\n")
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
