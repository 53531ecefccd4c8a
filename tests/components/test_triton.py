"""The component with the SDK's mocks: what it declares, what hangs on what, what stays secret."""

from __future__ import annotations

import base64
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.rpc import is_rpc_secret, unwrap_rpc_secret

from components.handles import ClusterHandle, CustomMetricsHandle, MetricsHandle, RepositoryHandle
from components.serving.namespaces import serving_namespaces
from components.serving.triton import CHART, Triton, TritonArgs
from components.settings.serving import ServingSettings

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hush"}


class Monitor(MockMonitor):
    """Remembers of each resource what it was said to depend on: mocks are not told."""

    def __init__(self, mocks: pulumi.runtime.Mocks) -> None:
        super().__init__(mocks)
        self.dependencies: dict[str, set[str]] = {}
        """Logical name -> logical names."""

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 (a gRPC method)
        self.dependencies[request.name] = {urn.rsplit("::", 1)[1] for urn in request.dependencies}
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


class Mocks(pulumi.runtime.Mocks):
    def __init__(self) -> None:
        self.made: dict[str, pulumi.runtime.MockResourceArgs] = {}
        self.monitor = Monitor(self)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.made[f"{args.typ}::{args.name}"] = args
        outputs = dict(args.inputs)
        metadata = dict(outputs.get("metadata") or {})
        if args.typ.startswith("kubernetes:core"):
            outputs["metadata"] = {**metadata, "name": metadata.get("name", f"{args.name}-1a2b3c4d")}
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(args.token)

    def one(self, typ: str) -> pulumi.runtime.MockResourceArgs:
        (found,) = (args for key, args in self.made.items() if key.startswith(f"{typ}::"))
        return found


@pytest.fixture
def mocks() -> Mocks:
    made = Mocks()
    pulumi.runtime.set_mocks(made, project="triton-fleet", stack="test", preview=False, monitor=made.monitor)
    return made


class Fleet(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("test:index:Fleet", "fleet")


def deploy(**fields: Any) -> list[Any]:
    """Run the program to its end, every resource registered; the addresses that the handles give."""
    addresses: list[Any] = []

    def program() -> pulumi.Output[Any]:
        return pulumi.Output.all(*(triton.handle.service for triton in declare(**fields))).apply(addresses.extend)

    pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    return addresses


def declare(*, credentials: bool = True, entries: tuple[ServingSettings, ...] | None = None, **extra: Any) -> list[Triton]:
    provider = k8s.Provider("cluster", kubeconfig="{}")
    operator = k8s.core.v1.ConfigMap("operator", opts=pulumi.ResourceOptions(provider=provider))
    adapter = k8s.core.v1.ConfigMap("adapter", opts=pulumi.ResourceOptions(provider=provider))
    cluster = ClusterHandle(name=pulumi.Output.from_input("test"), provider=provider)
    custom_metrics = CustomMetricsHandle(ready=adapter.id.apply(lambda _: "v1beta1.custom.metrics.k8s.io"))
    entries = entries or (ServingSettings(name="bert", namespace="models", image="registry.example/triton:1", models=("a",)),)
    namespaces = serving_namespaces(entries, cluster=cluster, custom_metrics=custom_metrics, parent=Fleet())
    return [
        Triton(
            entry.name,
            TritonArgs(
                cluster=cluster,
                repository=RepositoryHandle(
                    url=pulumi.Output.from_input("s3://bucket/models/abc"),
                    digest=pulumi.Output.from_input("abc"),
                    models=("a", "b"),
                    region="eu-west-1",
                    credentials=pulumi.Output.from_input(CREDENTIALS) if credentials else None,
                ),
                metrics=MetricsHandle(namespace="monitoring", url=operator.id.apply(lambda _: "http://kps"), port=9090),
                custom_metrics=custom_metrics,
                settings=entry,
                namespace=namespaces[entry.namespace],
                **extra,
            ),
        )
        for entry in entries
    ]


def test_the_chart_is_released_under_the_settings_name(mocks: Mocks) -> None:
    addresses = deploy()
    chart = mocks.one("kubernetes:helm.sh/v4:Chart").inputs
    assert (chart["chart"], chart["name"], chart["namespace"]) == (CHART, "bert", "models")
    assert not CHART.startswith("/"), "an absolute path would differ from machine to machine"
    assert chart["values"]["modelRepository"] == {
        "url": "s3://bucket/models/abc",
        "release": "abc",
        "models": ["a"],
        "region": "eu-west-1",
        "credentialsSecret": "bert-credentials-1a2b3c4d",
    }
    assert addresses == ["bert.models.svc.cluster.local"]


def test_credentials_are_a_secret_of_their_own_and_never_a_chart_value(mocks: Mocks) -> None:
    deploy()
    secret = mocks.one("kubernetes:core/v1:Secret").inputs
    assert secret["immutable"] is True
    assert "name" not in secret["metadata"], "named by the engine: other credentials are another Secret"
    assert secret["metadata"]["namespace"] == "models"
    assert is_rpc_secret(secret["data"]), "encrypted in the state, hidden in a diff"
    data = unwrap_rpc_secret(secret["data"])
    assert {key: base64.b64decode(value).decode() for key, value in data.items()} == CREDENTIALS
    assert "hush" not in str(mocks.one("kubernetes:helm.sh/v4:Chart").inputs)
    assert base64.b64encode(b"hush").decode() not in str(mocks.one("kubernetes:helm.sh/v4:Chart").inputs)


def test_without_static_credentials_there_is_no_secret(mocks: Mocks) -> None:
    deploy(credentials=False, service_account_annotations={"eks.amazonaws.com/role-arn": pulumi.Output.from_input("arn:aws:iam::1:role/r")})
    assert not any("Secret" in key for key in mocks.made)
    values = mocks.one("kubernetes:helm.sh/v4:Chart").inputs["values"]
    assert values["modelRepository"]["credentialsSecret"] == ""
    assert values["serviceAccount"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}


def test_a_destroy_takes_triton_before_what_serves_it(mocks: Mocks) -> None:
    deploy()
    assert {"operator", "adapter", "models", "bert-credentials"} <= mocks.monitor.dependencies[
        mocks.one("kubernetes:helm.sh/v4:Chart").name
    ]
    assert mocks.monitor.dependencies[mocks.one("kubernetes:core/v1:Namespace").name] == {"adapter"}


def test_deployments_that_share_a_namespace_share_one_resource(mocks: Mocks) -> None:
    entries = tuple(ServingSettings(name=name, namespace="models", image="registry.example/triton:1") for name in ("bert", "fil"))
    deploy(entries=entries)
    assert len([key for key in mocks.made if key.startswith("kubernetes:core/v1:Namespace::")]) == 1
    assert sorted(key.rsplit("::", 1)[1] for key in mocks.made if key.startswith("kubernetes:helm.sh/v4:Chart::")) == ["bert", "fil"]


def test_models_that_the_repository_lacks_stop_it_before_anything_is_made(mocks: Mocks) -> None:
    with pytest.raises(ValueError, match="names models nope, which the repository does not have"):
        deploy(entries=(ServingSettings(name="bert", image="registry.example/triton:1", models=("nope",)),))
    assert not any("Chart" in key or "Secret" in key for key in mocks.made)
