"""What one command works on: instance, ports, folders, and whether the cluster is the embedded platform or one of the user's own."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local import paths
from local.cli.backend import STACK
from local.cli.errors import CommandError
from local.cli.pulumi import PASSPHRASE, Pulumi

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.platform import PlatformConfig
    from local.toolchain import Toolchain

PROJECT: Final = Path(__file__).resolve().parents[2]
OWN_CLUSTER_TOOLS: Final = ("pulumi", "pulumi-language-python-exec", "pulumi-resource-pulumi-python", "helm", "kubectl")
"""What a cluster of the user's own takes; the embedded platform takes all tools."""


def loopback_without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY with this machine in it, where a proxy is set: boto3 would upload models to 127.0.0.1 through it. Empty without a proxy."""
    if not any(environ.get(name) for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return {}
    hosts = [host.strip() for host in (environ.get("NO_PROXY") or environ.get("no_proxy") or "").split(",") if host.strip()]
    value = ",".join([*hosts, *(host for host in ("127.0.0.1", "localhost") if host not in hosts)])
    return {"NO_PROXY": value, "no_proxy": value}


@dataclass(frozen=True, kw_only=True)
class Session:
    """One instance of the dev stack."""

    instance: str
    port_offset: int
    kube_context: str | None
    environ: Mapping[str, str]
    project: Path = PROJECT

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, *, instance: str | None = None, offset: int | None = None
    ) -> Session:
        """Read TRITON_FLEET_INSTANCE, TRITON_FLEET_PORT_OFFSET and KUBE_CONTEXT; arguments win.

        A cluster of one's own is an instance of its own, named after the context: its stack must never be taken for the embedded one's.

        Raises:
            CommandError: a value that can't be used.
        """
        context = environ.get("KUBE_CONTEXT", "").strip() or None
        name = instance or environ.get("TRITON_FLEET_INSTANCE", "").strip()
        if not name:
            name = paths.DEFAULT_INSTANCE if context is None else f"k-{hashlib.sha256(context.encode()).hexdigest()[:10]}"
        text = environ.get("TRITON_FLEET_PORT_OFFSET", "").strip() or "0"
        if offset is None and re.fullmatch(r"-?\d+", text) is None:
            message = f"TRITON_FLEET_PORT_OFFSET is {text!r}, not a whole number: no port can be computed. Unset it or set e.g. 100."
            raise CommandError(message)
        try:
            paths.check_instance(name)
        except paths.InstanceNameError as error:
            raise CommandError(str(error)) from None
        return cls(instance=name, port_offset=int(text) if offset is None else offset, kube_context=context, environ=dict(environ))

    @property
    def state(self) -> Path:
        """The instance's folder."""
        return paths.state_root(self.instance)

    @property
    def cache(self) -> Path:
        """The cache of tools and images."""
        return paths.cache_root()

    @property
    def bin(self) -> Path:
        """Folder of the CLI and its companions, first on PATH."""
        return self.state / "bin"

    @property
    def served(self) -> Path:
        """Marks that the last `up` went through: the next one is expected to change nothing."""
        return self.state / "served"

    @property
    def pulumi_home(self) -> Path:
        """PULUMI_HOME: plugins and the selected stack."""
        return self.state / "pulumi"

    @property
    def backend(self) -> Path:
        """Folder of the file backend."""
        return self.state / "backend"

    @property
    def platform_config(self) -> PlatformConfig:
        """The embedded platform's configuration of this instance."""
        from local.platform import PlatformConfig  # noqa: PLC0415 (a cluster of one's own never loads the platform)

        return PlatformConfig(instance=self.instance, port_offset=self.port_offset)

    @property
    def endpoints(self) -> Mapping[str, str]:
        """Name to URL on this machine: apiserver, object-store, triton-http, triton-grpc, prometheus."""
        return self.platform_config.endpoints

    def added_environment(self, toolchain: Toolchain, platform_environment: Mapping[str, str]) -> dict[str, str]:
        """The variables, PATH among them, that make plain pulumi, kubectl and helm work on this instance."""
        search = [str(self.bin), str(toolchain.bin_dir()), str(Path(sys.executable).parent)]
        rest = [entry for entry in self.environ.get("PATH", "").split(os.pathsep) if entry and entry not in search]
        return {
            "PATH": os.pathsep.join([*search, *rest]),
            "PULUMI_HOME": str(self.pulumi_home),
            # Without the sidecar files that the backend would write beside each of its own, and not atomically: one that a kill cut
            # off makes the stack unreadable ("failed to load checkpoint: EOF").
            "PULUMI_BACKEND_URL": f"file://{self.backend}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # The one plugin that the stack needs is installed by `make up`. Before each command the engine would get those of the clouds
            # too, hundreds of MB, because their SDKs are installed; without a way out it tries for 2.5 s.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "TRITON_FLEET_INSTANCE": self.instance,
            "TRITON_FLEET_PORT_OFFSET": str(self.port_offset),
            **loopback_without_proxy(self.environ),
            # Where the Makefile keeps byte code if it may not lie beside the sources: plain pulumi is as quick as `make up`.
            **{name: value for name, value in self.environ.items() if name == "PYTHONPYCACHEPREFIX"},
            **platform_environment,
        }

    def pulumi(self, cli: Path, added: Mapping[str, str]) -> Pulumi:
        """Pulumi on this instance's stack."""
        return Pulumi(
            cli=cli,
            project=self.project,
            environment={**self.environ, **added},
            backend=self.backend,
            stack=STACK,
            config_file=self.config_file if self.kube_context is not None else None,
        )

    @property
    def config_file(self) -> Path:
        """The stack file for a cluster of one's own, made from Pulumi.dev.yaml: the one in the checkout is never edited."""
        return self.state / "Pulumi.dev.yaml"
