"""TokenReview: asking a Kubernetes API server whose a service-account token is.

Belongs here: the request and what its answer says. Does not belong here: what an account may do (``claims``). A newcomer would get wrong: a
server that does not know audiences answers "authenticated" for tokens of any; only an answer that names ours counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kalends.adapters.oidc.failures import DEPENDENCY, refused
from kalends.adapters.oidc.fetching import Fetcher
from kalends.domain.errors import KalendsError, Misconfigured, Unavailable
from kalends.kit.bulkhead import Bulkhead, Full
from kalends.settings import KubernetesSettings

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """Whose a token is: the account's name, and all names that may be mapped."""

    username: str
    names: Sequence[str]


class Reviewer:
    """Asks the API server that *settings* name."""

    def __init__(self, settings: KubernetesSettings, fetcher: Fetcher) -> None:
        self._url = settings.url.rstrip("/") + PATH
        self._audience = settings.audience
        self._fetcher = fetcher
        self._wait_s = settings.deadline_s
        self._places = Bulkhead(settings.concurrency, name="reviews")
        self.failure = ""

    async def review(self, credential: str) -> Reviewed:
        """Whose *credential* is.

        Raises:
            Unauthenticated: the server does not accept it, or not for us. Unavailable, DeadlineExceeded: it does not say.
        """
        question = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": credential, "audiences": [self._audience]},
        }
        try:
            async with self._places.place(wait_s=self._wait_s):
                told = await self._fetcher.json(self._url, body=question)
        except Full as error:
            raise Unavailable("the API server has too many questions of ours", dependency=DEPENDENCY, retry_after=1.0) from error
        except Misconfigured as error:
            self.failure = error.detail
            raise Unavailable(error.detail, dependency=DEPENDENCY, retry_after=5.0) from error
        except KalendsError as error:
            self.failure = error.detail
            raise
        self.failure = ""
        return self._read(told)

    async def close(self) -> None:
        """End the connections."""
        await self._fetcher.close()

    def _read(self, told: Any) -> Reviewed:
        status = _member(told, "status")
        if status.get("authenticated") is not True:
            raise refused("review")
        audiences = status.get("audiences")
        if not isinstance(audiences, list) or self._audience not in audiences:
            raise refused("audience")
        user = _member(status, "user")
        username, groups = user.get("username"), user.get("groups")
        if not isinstance(username, str) or not username.startswith(_ACCOUNT):
            raise refused("subject")
        return Reviewed(username=username, names=[username, *(groups if isinstance(groups, list) else [])])


def _member(value: Any, name: str) -> Mapping[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
