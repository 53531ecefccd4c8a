"""Settings of the cluster that the fleet runs on.

`EksClusterSettings` refuses here what AWS would refuse after twenty minutes, or would take and never run.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.cluster import gpu
from components.settings.base import DnsLabel, FieldPath, Model, Problem, Problems

_REGION: Final = re.compile(r"^[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-\d\Z")
_ZONE: Final = re.compile(r"^[a-z]{2}(-[a-z]+)+-\d[a-z]\Z")
_CLUSTER_NAME: Final = re.compile(r"^[0-9A-Za-z][0-9A-Za-z_-]{0,99}\Z")
_ARN: Final = re.compile(r"^arn:aws(-cn|-us-gov)?:(?P<service>[a-z0-9-]+):[a-z0-9-]*:\d{12}:(?P<what>.+)\Z")
_EC2_TYPE: Final = re.compile(
    r"^(?P<family>[a-z]+\d+(?P<attributes>[a-z]*)(-[a-z0-9]+)?)\."
    r"(?P<size>(\d+)?(nano|micro|small|medium|large|xlarge)|metal(-\d+xl)?)\Z"
)
_VERSIONS: Final = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36")
"""Minor versions that the AL2023 NVIDIA AMIs exist for (amazon-eks-ami v20260714)."""
_MOST_ZONES: Final = 6
_LEAST_IOPS, _MOST_IOPS = 3000, 80000
_LEAST_THROUGHPUT, _MOST_THROUGHPUT = 125, 2000
"""gp3's bounds since 2025 (Amazon EBS user guide, "General Purpose SSD volumes")."""
_THROUGHPUT_PER_IOPS: Final = 0.25
"""gp3: MiB/s that one provisioned IOPS allows."""
_EVERYONE: Final = ("0.0.0.0/0", "::/0")


def _check_region(value: str) -> str:
    if _REGION.match(value) is None:
        close = value[:-1] if _ZONE.match(value) else None
        hint = f"Write the region of that zone, {close}." if close else "Write one like eu-west-1."
        raise ValueError(f"is no AWS region: nothing could be made there. {hint}")
    return value


def _check_zone(value: str) -> str:
    if _ZONE.match(value) is None:
        raise ValueError("is no availability zone: no subnet could be made there. Write one like eu-west-1a.")
    return value


def _check_network(value: str) -> str:
    try:
        return str(IPv4Network(value))
    except ValueError as error:
        hint = "Clear the bits behind the prefix length" if "host bits" in str(error) else "Write an address and a length, like 10.0.0.0/16"
        raise ValueError(f"is no IPv4 network: AWS would refuse it. {hint}.") from None


def _check_cluster_name(value: str) -> str:
    if _CLUSTER_NAME.match(value) is None:
        raise ValueError(
            "is no EKS cluster name: EKS would refuse it. Use 1 to 100 letters, digits, hyphens and underscores, a letter or digit first."
        )
    return value


def _key_arn(value: str) -> str:
    return _arn(value, "kms", ("key/",), "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")


def _check_secrets_key(value: str) -> str:
    return value if value in {"create", "none"} else _key_arn(value)


def _principal_arn(value: str) -> str:
    return _arn(value, "iam", ("role/", "user/"), "arn:aws:iam::111122223333:role/admins")


def _arn(value: str, service: str, what: tuple[str, ...], example: str) -> str:
    match = _ARN.match(value)
    if match is None or match["service"] != service or not match["what"].startswith(what):
        raise ValueError(f"is no ARN of that kind: AWS would refuse it. Write one like {example}.")
    return value


def _check_version(value: str) -> str:
    if value not in _VERSIONS:
        raise ValueError(f"is no Kubernetes version that EKS has GPU images for: its nodes could not be made. Choose one of {', '.join(_VERSIONS)}.")  # fmt: skip  # noqa: E501
    return value


def _check_cpu_machine(value: str) -> str:
    match = _EC2_TYPE.match(value)
    if match is None:
        raise ValueError("is no EC2 instance type: nodes of it could not be made. Write one like m7i.large.")
    if match["family"] in gpu.EC2_FAMILIES:
        raise ValueError(
            "has a GPU: it would be paid for and used by nothing. Take one without, like m7i.large, and name GPUs in gpuPools."
        )
    return value


def _check_gpu_machine(value: str) -> str:
    gpu.machine(value, cloud="ec2")
    return value


Region = Annotated[str, AfterValidator(_check_region)]
"""Name of an AWS region."""
Zone = Annotated[str, AfterValidator(_check_zone)]
"""Name of an availability zone."""
Network = Annotated[str, AfterValidator(_check_network)]
"""IPv4 network in CIDR notation."""
KeyArn = Annotated[str, AfterValidator(_key_arn)]
"""ARN of a KMS key (no alias: policies don't know those)."""
PrincipalArn = Annotated[str, AfterValidator(_principal_arn)]
"""ARN of an IAM role or user."""


class CreatedNetworkSettings(Model):
    """A VPC of the stack's own: a public and a private subnet in each zone. Nodes are in the private ones."""

    kind: Literal["create"]
    """A VPC of the stack's own."""
    cidr: Network = "10.0.0.0/16"
    """Addresses of the VPC, a /16 to a /21. Choose one that no network you peer with uses: it can't be changed."""
    zones: tuple[Zone, ...] | None = None
    """Availability zones, 2 or more; None takes the first ``zoneCount`` of the region's. Name them where none may ever move."""
    zone_count: int = Field(default=3, ge=2, le=_MOST_ZONES)
    """How many zones, where ``zones`` names none."""
    nat: Literal["one", "perZone", "none"] = "one"
    """NAT gateways. ``one``: cheapest, and its zone's failure cuts all nodes off from the internet. ``perZone``: one each. ``none``: no way
    out; then the interface endpoints are made that nodes need, and images must come from ECR."""
    interface_endpoints: bool = False
    """Private endpoints for ECR and STS: no image layer goes through a NAT gateway. Always made without NAT. S3 has one anyway, free."""

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        problems = []
        length = IPv4Network(self.cidr).prefixlen
        if not 16 <= length <= 21:  # noqa: PLR2004  # AWS' bound, and three private subnets of at least a /24 each
            text = f"({self.cidr}) is not a /16 to a /21: a VPC can't be larger, and a smaller one has too few pod addresses. Change it."
            problems.append(Problem(at=("cidr",), text=text))
        if self.zones is not None and not 2 <= len(self.zones) <= _MOST_ZONES:  # noqa: PLR2004  # EKS' own bound
            text = f"names {len(self.zones)}: EKS needs subnets in 2 zones or more, and {_MOST_ZONES} is most. Name 2 to {_MOST_ZONES}."
            problems.append(Problem(at=("zones",), text=text))
        if self.zones is not None and len(set(self.zones)) != len(self.zones):
            text = "names a zone twice: its second subnets would be refused. Name each once."
            problems.append(Problem(at=("zones",), text=text))
        if problems:
            raise Problems(*problems)
        return self


class ExistingNetworkSettings(Model):
    """A VPC that is there. Its subnets are checked against AWS at preview; its routes are yours."""

    kind: Literal["existing"]
    """A VPC that is there."""
    vpc_id: str = Field(pattern=r"^vpc-[0-9a-f]{8,17}$")
    """Id of the VPC."""
    private_subnet_ids: tuple[str, ...] = Field(min_length=2)
    """Subnets for nodes, in 2 zones or more, with a way out and the tag ``kubernetes.io/role/internal-elb=1``."""
    public_subnet_ids: tuple[str, ...] = ()
    """Subnets for public load balancers, with the tag ``kubernetes.io/role/elb=1``."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        problems: list[Problem] = []
        for field, ids in (("private_subnet_ids", self.private_subnet_ids), ("public_subnet_ids", self.public_subnet_ids)):
            problems.extend(
                Problem(at=(field,), text=f"names {wrong}, which is no subnet id: AWS would refuse it. Write one like subnet-0a1b2c3d.")
                for wrong in ids
                if re.fullmatch(r"subnet-[0-9a-f]{8,17}", wrong) is None
            )
        both = sorted(set(self.private_subnet_ids) & set(self.public_subnet_ids))
        if both:
            text = f"names {', '.join(both)}, private too: nodes in it would have no address that the internet answers to. Keep it in one."
            problems.append(Problem(at=("public_subnet_ids",), text=text, also=(("private_subnet_ids",),)))
        if problems:
            raise Problems(*problems)
        return self


NetworkSettings = Annotated[CreatedNetworkSettings | ExistingNetworkSettings, Field(discriminator="kind")]


class EndpointSettings(Model):
    """The Kubernetes API's addresses."""

    private: bool = True
    """Whether nodes reach the API inside the VPC."""
    public: bool = True
    """Whether the API has a public address. Without, Pulumi must run where the VPC can be reached."""
    public_cidrs: tuple[Network, ...] = ()
    """Networks that may reach the public address. 0.0.0.0/0 must be written out to be meant."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        problems = []
        if not self.public and not self.private:
            problems.append(
                Problem(at=("private",), text="and public are both false: nobody could reach the API. Set one of them to true.")
            )
        if self.public and not self.public_cidrs:
            text = (
                "is missing: the public endpoint would be open to the whole internet. "
                "Name the networks that you work from, or write [0.0.0.0/0] if that is meant, or set public to false."
            )
            problems.append(Problem(at=("public_cidrs",), text=text, also=(("public",),)))
        if not self.public and self.public_cidrs:
            text = "would be ignored: public is false, and EKS refuses both together. Leave it out or set public to true."
            problems.append(Problem(at=("public_cidrs",), text=text, also=(("public",),)))
        if self.public and not self.private and self.public_cidrs and not set(self.public_cidrs) & set(_EVERYONE):
            text = "is false while publicCidrs limits the public endpoint: nodes are locked out and never join. Set private to true."
            problems.append(Problem(at=("private",), text=text, also=(("public_cidrs",), ("public",))))
        if problems:
            raise Problems(*problems)
        return self


class DiskSettings(Model):
    """A node's disk: gp3, encrypted."""

    size: int = Field(default=200, ge=30, le=16384)
    """GiB. A Triton image takes 20 to 40 unpacked, and the AMI's own 20 GiB would not hold one."""
    iops: int = Field(default=_LEAST_IOPS, ge=_LEAST_IOPS, le=_MOST_IOPS)
    """Provisioned IOPS; 3000 are free."""
    throughput: int = Field(default=_LEAST_THROUGHPUT, ge=_LEAST_THROUGHPUT, le=_MOST_THROUGHPUT)
    """MiB/s. Pulling a 10 GB image waits for the disk: fastPull needs 600 or more to be of use."""
    snapshot: str | None = Field(default=None, pattern=r"^snap-[0-9a-f]{8,17}$")
    """Bottlerocket: snapshot of a data volume that has the image already, so that a new node pulls nothing."""

    @model_validator(mode="after")
    def _gp3(self) -> Self:
        if self.throughput > self.iops * _THROUGHPUT_PER_IOPS:
            least = int(self.throughput / _THROUGHPUT_PER_IOPS)
            text = (
                f"({self.throughput}) is more than {self.iops} iops allow: EC2 would refuse the volume. Raise iops to {least} or lower it."
            )
            raise Problems(Problem(at=("throughput",), text=text, also=(("iops",),)))
        return self


class SshSettings(Model):
    """SSH to nodes. Session Manager (nodeRole has it on request) needs neither key nor open port."""

    key: str
    """Name of an EC2 key pair in the region."""
    source_cidrs: tuple[Network, ...] = Field(min_length=1)
    """Networks that may reach port 22."""

    @model_validator(mode="after")
    def _not_the_world(self) -> Self:
        if set(self.source_cidrs) & set(_EVERYONE):
            text = "has 0.0.0.0/0: port 22 of every node would be open to the world. Name the networks that you work from."
            raise Problems(Problem(at=("source_cidrs",), text=text))
        return self


class WholeSharing(Model):
    """Each pod has whole GPUs."""

    kind: Literal["whole"]
    """Each pod has whole GPUs."""


class TimeSlicingSharing(Model):
    """Pods take turns on a GPU. No memory limit: one pod can starve the others of it."""

    kind: Literal["timeSlicing"]
    """Pods take turns on a GPU."""
    replicas: int = Field(ge=2, le=gpu.MAX_REPLICAS)
    """Pods on one GPU."""


class MpsSharing(Model):
    """Pods compute on a GPU at once, each with its share of the memory (MPS; NVIDIA calls the plugin's support experimental)."""

    kind: Literal["mps"]
    """Pods compute on a GPU at once."""
    replicas: int = Field(ge=2, le=gpu.MAX_REPLICAS)
    """Pods on one GPU."""


class MigSharing(Model):
    """Each GPU is cut into slices with compute and memory of their own."""

    kind: Literal["mig"]
    """Each GPU is cut into slices."""
    profile: str
    """Slice, such as ``1g.10gb``; each GPU gets as many as fit. Pods ask for ``nvidia.com/mig-1g.10gb``."""


Sharing = Annotated[WholeSharing | TimeSlicingSharing | MpsSharing | MigSharing, Field(discriminator="kind")]


def _scaling_problems(least: int, desired: int | None, most: int) -> list[Problem]:
    """What EC2 would refuse of a group's three numbers."""
    problems = []
    if least > most:
        text = f"({least}) is above max ({most}): the group could never be made. Lower min or raise max."
        problems.append(Problem(at=("min",), text=text, also=(("max",),)))
    elif desired is not None and not least <= desired <= most:
        text = f"({desired}) is not between min ({least}) and max ({most}): the group could never be made. Change it, or leave it out."
        problems.append(Problem(at=("desired",), text=text, also=(("min",), ("max",))))
    return problems


def _label_problems(at: str, labels: dict[str, str]) -> list[Problem]:
    return [
        Problem(at=(at,), text=f"has {key}: EKS keeps that prefix for itself and would refuse the group. Choose another key.")
        for key in labels
        if key.split("/", maxsplit=1)[0].endswith(("kubernetes.io", "k8s.io", "eks.amazonaws.com"))
    ]


class CpuPoolSettings(Model):
    """The nodes without GPUs: DNS, Prometheus, autoscalers, and Triton too in a stack without GPUs. Never tainted."""

    machine_types: tuple[Annotated[str, AfterValidator(_check_cpu_machine)], ...] = Field(default=("m7i.large",), min_length=1)
    """EC2 instance types of one architecture; with spot, several find capacity more often."""
    min: int = Field(default=2, ge=1)
    """Fewest nodes. Never 0: DNS would have nowhere to run, and its add-on would fail after 20 minutes."""
    desired: int | None = Field(default=None, ge=1)
    """Nodes at creation; None is ``min``. Ignored afterwards: the autoscaler owns the number."""
    max: int = Field(default=6, ge=1)
    """Most nodes."""
    capacity: Literal["onDemand", "spot"] = "onDemand"
    """How nodes are bought."""
    disk: DiskSettings = DiskSettings(size=80)
    """Their disks."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further node labels."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [*_scaling_problems(self.min, self.desired, self.max), *_label_problems("labels", self.labels)]
        if len({architecture(machine) for machine in self.machine_types}) > 1:
            text = "mixes x86-64 and Arm: one node image runs on one of them. Keep one architecture."
            problems.append(Problem(at=("machine_types",), text=text))
        if problems:
            raise Problems(*problems)
        return self


def architecture(machine_type: str) -> gpu.Arch:
    """Architecture of an EC2 instance type without GPU: Graviton families have a g behind their generation (``m7g``, ``c6gn``, ``t4g``)."""
    match = _EC2_TYPE.match(machine_type)
    return "arm64" if match is not None and "g" in match["attributes"] else "x86_64"


class GpuPoolSettings(Model):
    """A pool of GPU nodes of one machine type."""

    name: DnsLabel
    """Name of the pool: label ``triton-fleet/pool`` of its nodes."""
    machine_type: Annotated[str, AfterValidator(_check_gpu_machine)]
    """EC2 instance type with GPUs, such as ``g6.xlarge``."""
    min: int = Field(default=0, ge=0)
    """Fewest nodes, in each zone where ``perZone`` is set."""
    desired: int | None = Field(default=None, ge=0)
    """Nodes at creation; None is ``min``. Ignored afterwards: the autoscaler owns the number."""
    max: int = Field(default=4, ge=1)
    """Most nodes, in each zone where ``perZone`` is set."""
    capacity: Literal["onDemand", "spot", "capacityBlock"] = "onDemand"
    """How nodes are bought."""
    capacity_reservation: str | None = Field(default=None, pattern=r"^cr-[0-9a-f]{8,17}$")
    """Id of the capacity block; with ``capacityBlock`` only."""
    os: Literal["al2023", "bottlerocket"] = "al2023"
    """Node image: Amazon Linux 2023 or Bottlerocket, both with NVIDIA's driver."""
    zones: tuple[Zone, ...] | None = None
    """Zones of the pool; None is all of the network's."""
    per_zone: bool = False
    """One node group in each zone: an autoscaler can then choose the zone, which volumes of one zone and capacity need."""
    disk: DiskSettings = DiskSettings()
    """Their disks."""
    sharing: Sharing = WholeSharing(kind="whole")
    """How each GPU is divided among pods."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further node labels."""
    taint: bool = True
    """Taint ``nvidia.com/gpu=present:NoSchedule``: only what asks for a GPU runs there."""
    fast_pull: bool = True
    """Pull image layers in parallel (SOCI): the slow part of a new GPU node is its image."""
    efa: bool = False
    """Elastic Fabric Adapters, on all network cards, in a cluster placement group in one zone."""
    ssh: SshSettings | None = None
    """SSH to the nodes, as reference 000 has it; None: port 22 is closed."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [
            *_scaling_problems(self.min, self.desired, self.max),
            *_label_problems("labels", self.labels),
            *self._image(),
            *self._capacity(),
        ]
        if problems:
            raise Problems(*problems)
        return self

    @property
    def machine(self) -> gpu.Machine:
        """The machine type's entry in the catalogue."""
        return gpu.machine(self.machine_type, cloud="ec2")

    @property
    def shared(self) -> gpu.Sharing:
        """``sharing`` as the catalogue takes it."""
        replicas = self.sharing.replicas if isinstance(self.sharing, (TimeSlicingSharing, MpsSharing)) else 1
        profile = self.sharing.profile if isinstance(self.sharing, MigSharing) else None
        return gpu.Sharing(kind=self.sharing.kind, replicas=replicas, profile=profile)

    def _image(self) -> list[Problem]:
        problems = []
        ami = gpu.ami_problem(self.machine)
        if ami is not None:
            problems.append(Problem(at=("machine_type",), text=ami))
        sharing = gpu.sharing_problem(self.machine, self.shared)
        if sharing is not None:
            at: FieldPath = ("sharing", "profile") if sharing.startswith("(") else ("sharing",)
            problems.append(Problem(at=at, text=sharing, also=(("machine_type",),)))
        if (
            sharing is None
            and self.sharing.kind == "mig"
            and self.os == "bottlerocket"
            and self.machine.gpu.name not in gpu.BOTTLEROCKET_MIG
        ):
            text = f"is mig, which Bottlerocket can't set up on {self.machine.gpu.name}: no slice would ever appear. Set os to al2023."
            problems.append(Problem(at=("sharing",), text=text, also=(("os",), ("machine_type",))))
        if self.disk.snapshot is not None and self.os != "bottlerocket":
            text = "would be ignored: only Bottlerocket keeps images on a volume of their own. Set os to bottlerocket or leave it out."
            problems.append(Problem(at=("disk", "snapshot"), text=text, also=(("os",),)))
        return problems

    def _capacity(self) -> list[Problem]:
        problems = []
        block = self.capacity == "capacityBlock"
        if block and self.capacity_reservation is None:
            text = "is missing: capacity is capacityBlock, and nodes of it start in a block that was bought. Add its id, cr-..."
            problems.append(Problem(at=("capacity_reservation",), text=text, also=(("capacity",),)))
        if not block and self.capacity_reservation is not None:
            text = f"would be ignored: capacity is {self.capacity}. Set capacity to capacityBlock or leave it out."
            problems.append(Problem(at=("capacity_reservation",), text=text, also=(("capacity",),)))
        for field, asked, why in (
            ("capacity", block, "is capacityBlock, which lies in one zone"),
            ("efa", self.efa, "is true, and its placement group lies in one zone"),
        ):
            if asked and (self.zones is None or len(self.zones) != 1):
                text = f"{why}: nodes elsewhere would never start. Name that zone alone in zones."
                problems.append(Problem(at=(field,), text=text, also=(("zones",),)))
        if self.efa and not self.machine.efa:
            text = f"is true, and {self.machine_type} has no EFA: its nodes would be refused. Take a larger machine or leave it out."
            problems.append(Problem(at=("efa",), text=text, also=(("machine_type",),)))
        return problems


class ImageRepositorySettings(Model):
    """An ECR repository for Triton images of one's own."""

    name: str = Field(default="triton", pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*$", min_length=2, max_length=256)
    """Name of the repository."""
    keep_untagged_days: int = Field(default=14, ge=1)
    """Days after which images without a tag are deleted."""
    retain: bool = True
    """True: a destroy leaves a repository that has images and fails there. False: images go with it."""


class ExistingClusterSettings(Model):
    """A cluster that is there already: found through a kubeconfig, never created, changed or deleted."""

    provider: Literal["existing"] = "existing"
    """Kind of cluster; ``existing`` is one that is there already."""
    kubeconfig: str | None = None
    """Path of a kubeconfig file; None means what kubectl would use (KUBECONFIG, else ~/.kube/config)."""
    context: str | None = None
    """Context inside that file; None means its current-context."""


LogType = Literal["api", "audit", "authenticator", "controllerManager", "scheduler"]


class EksClusterSettings(Model):
    """An EKS cluster of the stack's own, with its network, nodes and identities."""

    provider: Literal["eks"]
    """Kind of cluster; ``eks`` is one on Amazon EKS that the stack makes."""
    name: Annotated[str, AfterValidator(_check_cluster_name)] = "triton-fleet"
    """Name of the cluster."""
    region: Region
    """AWS region of everything."""
    profile: str | None = None
    """AWS profile; None means what the default chain finds. It goes into the kubeconfig too."""
    version: Annotated[str, AfterValidator(_check_version)] = "1.35"
    """Kubernetes version, in quotes. One minor version up at a time; docs/upgrading.md."""
    support: Literal["standard", "extended"] = "standard"
    """``standard``: EKS upgrades the cluster itself when its version's 14 months are over. ``extended``: it stays, at a higher price."""
    network: NetworkSettings = CreatedNetworkSettings(kind="create")
    """The VPC."""
    endpoint: EndpointSettings
    """The Kubernetes API's addresses."""
    admins: tuple[PrincipalArn, ...] = ()
    """IAM roles and users that administer the cluster, besides the one that makes it, which must not be named."""
    secrets_key: Annotated[str, AfterValidator(_check_secrets_key)] = "create"
    """KMS key that Kubernetes Secrets are encrypted with: ``create`` makes one, ``none`` leaves it to AWS' own key. Taking it away later
    replaces the cluster."""
    disk_key: KeyArn | None = None
    """KMS key of the nodes' disks; its policy must let AWSServiceRoleForAutoScaling use it and make grants. None: AWS' own key."""
    models_key: Annotated[str, AfterValidator(_key_arn)] | None = None
    """KMS key that the models' bucket is encrypted with: Triton's role may decrypt with it, through S3 alone. None: S3's own."""
    addon_versions: dict[Literal["vpc-cni", "kube-proxy", "coredns", "aws-ebs-csi-driver", "eks-pod-identity-agent"], str] = Field(
        default_factory=dict
    )
    """Versions of EKS' add-ons, such as ``v1.20.4-eksbuild.2``; what is not named gets EKS' default for the Kubernetes version, which AWS
    moves now and then: a preview then shows the update."""
    logs: tuple[LogType, ...] = ("api", "audit", "authenticator", "controllerManager", "scheduler")
    """Control plane logs that go to CloudWatch."""
    log_retention_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731] = 30
    """Days that they are kept."""
    deletion_protection: bool = False
    """True: EKS refuses to delete the cluster until an `up` with False."""
    session_manager: bool = False
    """Whether nodes can be entered through Session Manager (AmazonSSMManagedInstanceCore in the node role)."""
    cpu_pool: CpuPoolSettings = CpuPoolSettings()
    """The nodes without GPUs."""
    gpu_pools: tuple[GpuPoolSettings, ...] = ()
    """The GPU nodes; none for a stack on CPU."""
    image_repository: ImageRepositorySettings | None = None
    """An ECR repository for Triton images of one's own; None: none is made."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags of everything in AWS."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [*self._names(), *self._zones(), *self._keys()]
        if problems:
            raise Problems(*problems)
        return self

    def _names(self) -> list[Problem]:
        names = [pool.name for pool in self.gpu_pools]
        problems = [
            Problem(
                at=("gpu_pools", index, "name"),
                text=f"({name}) is gpuPools[{names.index(name)}]'s name too: one would overwrite the other. Give each a name of its own.",
                also=(("gpu_pools", names.index(name), "name"),),
            )
            for index, name in enumerate(names)
            if names.index(name) != index
        ]
        if "cpu" in names:
            text = "(cpu) is the name of the pool without GPUs: one would overwrite the other. Choose another."
            problems.append(Problem(at=("gpu_pools", names.index("cpu"), "name"), text=text))
        twice = sorted({arn for arn in self.admins if self.admins.count(arn) > 1})
        if twice:
            text = f"names {', '.join(twice)} twice: EKS takes one access entry each, and the second would fail. Name it once."
            problems.append(Problem(at=("admins",), text=text))
        return problems

    def _zones(self) -> list[Problem]:
        known = self.network.zones if isinstance(self.network, CreatedNetworkSettings) else None
        problems: list[Problem] = []
        if isinstance(known, tuple):
            problems.extend(
                Problem(
                    at=("network", "zones"),
                    text=f"names {zone}, which is not in {self.region}: its subnets would be refused. Name zones of the region.",
                    also=(("region",),),
                )
                for zone in known
                if not zone.startswith(self.region)
            )
        for index, pool in enumerate(self.gpu_pools):
            for zone in pool.zones or ():
                if not zone.startswith(self.region) or (isinstance(known, tuple) and zone not in known):
                    where = ", ".join(known) if isinstance(known, tuple) else self.region
                    problems.append(
                        Problem(
                            at=("gpu_pools", index, "zones"),
                            text=f"names {zone}, where the network has no subnet: its nodes could not be made. Choose from {where}.",
                            also=(("network",), ("region",)),
                        )
                    )
        return problems

    def _keys(self) -> list[Problem]:
        problems = []
        for field, key in (("secrets_key", self.secrets_key), ("disk_key", self.disk_key)):
            if key is not None and key.startswith("arn:") and f":kms:{self.region}:" not in key:
                text = f"is a key of another region than {self.region}: AWS would refuse it. Name one of the region."
                problems.append(Problem(at=(field,), text=text, also=(("region",),)))
        return problems
