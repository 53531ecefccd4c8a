"""What a command works on: instance, ports, folders, and the cluster, which is the embedded platform or the user's own."""

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
"""Tools for the user's own cluster; the embedded platform needs all tools."""


def loopback_without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY with loopback added: boto3 would upload models to 127.0.0.1 through the proxy. Empty if no proxy is set."""
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

        The user's own cluster is a separate instance, named after the context, so that its stack is never mistaken for the embedded one's.

        Raises:
            CommandError: a value is invalid.
        """
        context = environ.get("KUBE_CONTEXT", "").strip() or None
        name = instance or environ.get("TRITON_FLEET_INSTANCE", "").strip()
        if not name:
            name = paths.DEFAULT_INSTANCE if context is None else f"k-{hashlib.sha256(context.encode()).hexdigest()[:10]}"
        text = environ.get("TRITON_FLEET_PORT_OFFSET", "").strip() or "0"
        if offset is None and re.fullmatch(r"-?\d+", text) is None:
            message = f"TRITON_FLEET_PORT_OFFSET ({text!r}) must be a whole number. Unset it or set, for example, 100."
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
        """Folder of the CLI and its companions; first on PATH."""
        return self.state / "bin"

    @property
    def served(self) -> Path:
        """Exists if the last `up` succeeded: the next one is expected to change nothing."""
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
        """The embedded platform's configuration for this instance."""
        from local.platform import PlatformConfig  # noqa: PLC0415 (not needed for your own cluster)

        return PlatformConfig(instance=self.instance, port_offset=self.port_offset)

    @property
    def endpoints(self) -> Mapping[str, str]:
        """URLs on this machine by name: apiserver, object-store, triton-http, triton-grpc, prometheus."""
        return self.platform_config.endpoints

    def added_environment(self, toolchain: Toolchain, platform_environment: Mapping[str, str]) -> dict[str, str]:
        """Variables, including PATH, with which plain pulumi, kubectl and helm use this instance."""
        search = [str(self.bin), str(toolchain.bin_dir()), str(Path(sys.executable).parent)]
        rest = [entry for entry in self.environ.get("PATH", "").split(os.pathsep) if entry and entry not in search]
        return {
            "PATH": os.pathsep.join([*search, *rest]),
            "PULUMI_HOME": str(self.pulumi_home),
            # Without the backend's sidecar files, which it does not write atomically: a truncated one makes the stack unreadable
            # ("failed to load checkpoint: EOF").
            "PULUMI_BACKEND_URL": f"file://{self.backend}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # `make up` installs the only plugin that the stack needs. Before each command the engine would also download the clouds'
            # plugins (hundreds of MB), because their SDKs are installed; without internet access it would try for 2.5 s.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "TRITON_FLEET_INSTANCE": self.instance,
            "TRITON_FLEET_PORT_OFFSET": str(self.port_offset),
            **loopback_without_proxy(self.environ),
            # The Makefile's folder for bytecode, if it may not be next to the sources: keeps plain pulumi as fast as `make up`.
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
        """The stack file for the user's own cluster, generated from Pulumi.dev.yaml, which is never edited."""
        return self.state / "Pulumi.dev.yaml"
