"""A configured provider's cluster: whether it is reachable, which kinds it serves, and waiting for its objects."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from local.plugins.kubernetes import await_, kubeconfig, naming
from local.plugins.kubernetes.client import Client, Object, Warnings
from local.plugins.kubernetes.config import Config
from local.plugins.kubernetes.errors import ApiError, NoSuchKind, Unreachable
from local.plugins.kubernetes.outcome import InitFailed, ProviderError
from local.plugins.kubernetes.state import FIELD_MANAGER, state_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.plugins.kubernetes.logs import Log
    from local.plugins.kubernetes.naming import Kind
    from local.plugins.kubernetes.properties import Props


class Reach:
    """The part of a configured provider that all operations use."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.config = Config()
        self.client: Client | None = None
        self.access: kubeconfig.Access | None = None
        self.unreachable = "the provider is not configured"
        self.cancelled = threading.Event()
        self._program_kinds: dict[tuple[str, str], bool] = {}  # (group, kind) of CRDs in this program -> namespaced
        self._lock = threading.Lock()

    # --- configuration

    def configure(self, config: Config) -> None:
        """Apply a configuration and check whether its cluster is reachable; if not, operations that need it fail later."""
        self.config = config
        self.client = None
        self.unreachable = ""
        try:
            self.access = kubeconfig.access(
                kubeconfig.read(config.kubeconfig or None), context=config.context, cluster=config.cluster, namespace=config.namespace
            )
        except kubeconfig.KubeconfigError as error:
            self.access = None
            self.unreachable = f"unable to load Kubernetes client configuration from kubeconfig file: {error}"
            return
        client = Client(self.access, timeout_s=config.client_timeout_s)
        try:
            client.version()
        except (ApiError, Unreachable, kubeconfig.KubeconfigError, ValueError, OSError) as error:
            self.unreachable = f"unable to load schema information from the API server: {error}"
            return
        self.client = client

    @property
    def default_namespace(self) -> str:
        """The namespace of objects that do not set one."""
        return self.access.namespace if self.access else self.config.namespace or "default"

    def reach(self) -> Client:
        """The cluster's client.

        Raises:
            ProviderError: The cluster is unreachable.
        """
        if self.client is None:
            raise ProviderError(f"configured Kubernetes cluster is unreachable: {self.unreachable}")
        return self.client

    def note_definition(self, definition: Object) -> None:
        """Record a CustomResourceDefinition of the program: objects of its kind may be checked before it exists."""
        spec = definition.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("names"), dict):
            with self._lock:
                self._program_kinds[(str(spec.get("group")), str(spec["names"].get("kind")))] = spec.get("scope") != "Cluster"

    def is_namespaced(self, kind: Kind, definitions: Sequence[Object] = ()) -> bool | None:
        """Whether a kind is namespaced; None if unknown."""
        known = naming.builtin_namespaced(kind)
        if known is not None:
            return known
        for definition in definitions:
            self.note_definition(definition)
        with self._lock:
            if (kind.group, kind.kind) in self._program_kinds:
                return self._program_kinds[(kind.group, kind.kind)]
        if self.client is None:
            return None
        try:
            return self.client.resource(kind).namespaced
        except NoSuchKind:
            return None

    def _kind_exists(self, kind: Kind) -> bool:
        if self.client is None:
            return False
        try:
            self.client.resource(kind)
        except NoSuchKind:
            return False
        return True

    # --- parts

    def _await(  # noqa: PLR0917
        self, urn: str, live: Object, inputs: Object, news: Props, manager: str, timeout_s: float, what: str, initial: Any = None
    ) -> Props:
        client = self.reach()
        try:
            ready = await_.wait_ready(
                live,
                inputs,
                client,
                timeout_s=await_.timeout_of(timeout_s, inputs),
                cancelled=self.cancelled,
                status=lambda text: self.log.status(urn, text),
            )
        except await_.NotReady as error:
            reasons = "".join(f"\n  - {reason}" for reason in error.reasons)
            raise InitFailed(
                f"resource {urn!r} {what} the Kubernetes API server reported that it failed to fully initialize or become live: "
                f"{error}{reasons}",
                resource_id=naming.object_id(error.live),
                state=state_of(inputs, error.live, news, manager, initial),
                reasons=[str(error), *error.reasons],
            ) from error
        except (await_.Cancelled, ApiError, Unreachable) as error:
            raise InitFailed(
                f"resource {urn!r} {what} {error}",
                resource_id=naming.object_id(live),
                state=state_of(inputs, live, news, manager, initial),
                reasons=[str(error)],
            ) from error
        return state_of(inputs, ready, news, manager, initial)

    def _manager(self, urn: str, olds: Props, inputs: Object) -> str:
        if not self.config.server_side_apply:
            return "pulumi-kubernetes"
        recorded = olds.get(FIELD_MANAGER)
        return (
            naming.annotation(inputs, naming.PATCH_FIELD_MANAGER)
            or (recorded if isinstance(recorded, str) else "")
            or naming.field_manager(urn)
        )

    def _say(self, urn: str, warnings: Warnings, *, preview: bool) -> None:
        if preview:
            return
        for text in dict.fromkeys(warnings.messages):
            self.log.warning(urn, text)
