"""Flags and configuration files of the Kubernetes components, as pure functions."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from local.platform import config
from local.platform.plan import Component, Probe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.platform.layout import Layout

APISERVER_URL: Final = f"https://{config.NODE_IP}:{config.APISERVER_PORT}"
CONTAINERD_SOCKET: Final = "/run/containerd/containerd.sock"

KERNEL_SETTINGS: Final[Mapping[str, int]] = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""Values that the kubelet requires (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables) and would set for the WHOLE machine.

The node covers these files with private copies that have the required values, so the kubelet leaves the machine's own unchanged.
`protectKernelDefaults: true` was rejected: the kubelet would not start on a machine with other values.
"""


def kubeconfig(*, server: str, authority: bytes, certificate: bytes, key: bytes, user: str) -> dict[str, Any]:
    """A self-contained kubeconfig with embedded certificates; its context is ``triton-fleet``."""

    def encoded(content: bytes) -> str:
        return base64.b64encode(content).decode("ascii")

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": config.CONTEXT, "cluster": {"server": server, "certificate-authority-data": encoded(authority)}}],
        "users": [{"name": user, "user": {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}}],
        "contexts": [{"name": config.CONTEXT, "context": {"cluster": config.CONTEXT, "user": user}}],
        "current-context": config.CONTEXT,
    }


def etcd(binary: str, layout: Layout, environment: Mapping[str, str]) -> Component:
    """The API's store, only on the node's loopback and only with certificates."""
    pki = layout.pki
    return Component(
        name="etcd",
        argv=(
            binary,
            f"--name={config.NODE_NAME}",
            f"--data-dir={layout.etcd}",
            "--listen-client-urls=https://127.0.0.1:2379",
            "--advertise-client-urls=https://127.0.0.1:2379",
            "--listen-peer-urls=https://127.0.0.1:2380",
            "--initial-advertise-peer-urls=https://127.0.0.1:2380",
            f"--initial-cluster={config.NODE_NAME}=https://127.0.0.1:2380",
            *(
                flag
                for prefix in ("", "peer-")
                for flag in (
                    f"--{prefix}cert-file={pki}/etcd.crt",
                    f"--{prefix}key-file={pki}/etcd.key",
                    f"--{prefix}trusted-ca-file={pki}/etcd-ca.crt",
                    f"--{prefix}client-cert-auth=true",
                )
            ),
            "--snapshot-count=10000",
            "--logger=zap",
        ),
        environment={**environment, "GOGC": "75"},
        probe=Probe(tcp=("127.0.0.1", 2379)),
        stop_timeout_s=10,
    )


def apiserver(binary: str, layout: Layout, environment: Mapping[str, str]) -> Component:
    """The API: TLS, RBAC and Node authorization, no anonymous access, and an aggregation layer with its own authority."""
    pki = layout.pki
    return Component(
        name="kube-apiserver",
        argv=(
            binary,
            f"--bind-address={config.NODE_IP}",
            f"--advertise-address={config.NODE_IP}",
            f"--secure-port={config.APISERVER_PORT}",
            "--etcd-servers=https://127.0.0.1:2379",
            f"--etcd-cafile={pki}/etcd-ca.crt",
            f"--etcd-certfile={pki}/apiserver-etcd-client.crt",
            f"--etcd-keyfile={pki}/apiserver-etcd-client.key",
            f"--service-cluster-ip-range={config.SERVICE_CIDR}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--anonymous-auth=false",
            "--allow-privileged=true",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            "--tls-min-version=VersionTLS12",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://kubernetes.default.svc.{config.DOMAIN}",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
            # Directly to the endpoints: an aggregated API answers even while kube-proxy restarts.
            "--enable-aggregator-routing=true",
            "--profiling=false",
            "--v=1",
        ),
        environment={**environment, "GOGC": "75"},
        after=("etcd",),
        probe=Probe(https=(config.NODE_IP, config.APISERVER_PORT, "/readyz")),
        # It would drain watches for a minute. Its data is in etcd, and the clients that watch are stopped first.
        stop_timeout_s=2,
    )


def controller_manager(binary: str, layout: Layout, environment: Mapping[str, str]) -> Component:
    """All default controllers, each with its own service account."""
    pki = layout.pki
    own = layout.component_kubeconfig("controller-manager")
    return Component(
        name="kube-controller-manager",
        argv=(
            binary,
            "--bind-address=127.0.0.1",
            f"--kubeconfig={own}",
            f"--authentication-kubeconfig={own}",
            f"--authorization-kubeconfig={own}",
            f"--client-ca-file={pki}/ca.crt",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/sa.key",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--use-service-account-credentials=true",
            # The bridge plugin assigns pod addresses, so the controller must not.
            "--allocate-node-cidrs=false",
            # Single instance: leader election would only add its lease time to every start.
            "--leader-elect=false",
            # At the start, each of forty controllers requests an account and a token, which takes 4 s at the default of 20 requests/s.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            # The dev stack's scrape interval, so that users see the effect of load sooner. The default is 15 s.
            "--horizontal-pod-autoscaler-sync-period=5s",
            "--profiling=false",
            "--v=1",
        ),
        environment={**environment, "GOGC": "75"},
        after=("kube-apiserver",),
        probe=Probe(tcp=("127.0.0.1", 10257)),
    )


def scheduler(binary: str, layout: Layout, environment: Mapping[str, str]) -> Component:
    """The default scheduler."""
    own = layout.component_kubeconfig("scheduler")
    return Component(
        name="kube-scheduler",
        argv=(
            binary,
            "--bind-address=127.0.0.1",
            f"--kubeconfig={own}",
            f"--authentication-kubeconfig={own}",
            f"--authorization-kubeconfig={own}",
            "--leader-elect=false",
            "--profiling=false",
            "--v=1",
        ),
        environment={**environment, "GOGC": "75"},
        after=("kube-apiserver",),
        probe=Probe(tcp=("127.0.0.1", 10259)),
    )


def kubelet_configuration(layout: Layout, *, cgroup: str) -> dict[str, Any]:
    """KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": config.NODE_IP,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{layout.pki}/kubelet-serving.crt",
        "tlsPrivateKeyFile": f"{layout.pki}/kubelet-serving.key",
        "serverTLSBootstrap": False,
        "rotateCertificates": False,
        "clusterDNS": [config.DNS_IP],
        "clusterDomain": config.DOMAIN,
        # Without name servers: the node has no egress, and pods must not use the machine's resolver.
        "resolvConf": f"{layout.etc}/resolv.conf",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "hairpinMode": "hairpin-veth",
        "healthzBindAddress": "127.0.0.1",
        # Without it the kubelet has no disk metrics: no eviction, no /stats/summary ("cannot find filesystem info for device").
        "localStorageCapacityIsolation": True,
        # Absolute values: 10 % of a large disk is plenty of space, and no reason to evict pods.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "500Mi",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "500Mi",
            "imagefs.inodesFree": "1%",
        },
        # Refusing pods for five minutes after the disk has space again would look like a bug.
        "evictionPressureTransitionPeriod": "30s",
        # Images can't be pulled again: never garbage-collect them.
        "imageGCHighThresholdPercent": 100,
        "imageMaximumGCAge": "0s",
        "maxPods": 110,
        "maxParallelImagePulls": 2,
        "serializeImagePulls": False,
        "oomScoreAdj": 0,
        "podLogsDir": str(layout.pod_logs),
        "protectKernelDefaults": False,
        "volumePluginDir": f"{layout.kubelet}/volume-plugins",
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 3,
        "enableControllerAttachDetach": True,
        "nodeStatusUpdateFrequency": "10s",
        # How often changed Secrets and ConfigMaps are synced to pods. With the default of one minute, Prometheus would get a new target,
        # and the autoscaler its metric, up to 90 s late.
        "syncFrequency": "5s",
        "logging": {"verbosity": 1},
    }


def kubelet(binary: str, layout: Layout, environment: Mapping[str, str]) -> Component:
    """The node agent."""
    return Component(
        name="kubelet",
        argv=(
            binary,
            f"--config={layout.etc}/kubelet.json",
            f"--kubeconfig={layout.component_kubeconfig('kubelet')}",
            f"--root-dir={layout.kubelet}",
            f"--cert-dir={layout.kubelet}/pki",
            f"--hostname-override={config.NODE_NAME}",
            f"--node-ip={config.NODE_IP}",
            # The GPU operator's label, which selects nodes for the metrics exporter: the stand-in runs on this node.
            "--node-labels=nvidia.com/gpu.present=true",
        ),
        environment={**environment, "GOGC": "75"},
        after=("kube-apiserver", "containerd"),
        probe=Probe(tcp=(config.NODE_IP, 10250)),
    )


def kube_proxy_configuration(layout: Layout) -> dict[str, Any]:
    """KubeProxyConfiguration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": config.NODE_IP,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clientConnection": {"kubeconfig": str(layout.component_kubeconfig("kube-proxy"))},
        "clusterCIDR": config.POD_CIDR,
        "hostnameOverride": config.NODE_NAME,
        "mode": "iptables",
        "oomScoreAdj": 0,
        # The conntrack table's size belongs to the machine and is read-only in a network namespace: change nothing.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "250ms", "syncPeriod": "30s"},
        "logging": {"verbosity": 1},
    }


def kube_proxy(binary: str, layout: Layout, environment: Mapping[str, str]) -> Component:
    """Service addresses and node ports, with iptables in the node."""
    return Component(
        name="kube-proxy",
        argv=(binary, f"--config={layout.etc}/kube-proxy.json"),
        environment={**environment, "GOGC": "75"},
        after=("kube-apiserver",),
        probe=Probe(tcp=("127.0.0.1", 10256)),
    )
