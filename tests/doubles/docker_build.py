"""A double of the `docker-build` plugin: builds nothing, and pushes manifests into the registry of the cloud behind the `aws` double.

An image's digest comes of its context, its Dockerfile, its arguments and its platforms, so that the same source is the same image. What the
real plugin refuses for want of a file or of credentials is refused; what a builder or the registry does with layers is left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import botocore.session
from botocore.exceptions import ClientError

from local.plugins.kubernetes.diff import Change, Difference
from tests.doubles.install import sdk_version
from tests.doubles.provider import UNKNOWN, Call, Changes, Checked, Double, DoubleError, Found, Props, has_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLUGIN: Final = "docker-build"
DOUBLE: Final = "tests.doubles.docker_build:DockerBuild"
"""For `tests.doubles.install`."""
IMAGE: Final = "docker-build:index:Image"
INDEX: Final = "docker-build:index:Index"
_PROPERTIES: Final[Mapping[str, frozenset[str]]] = {
    IMAGE: frozenset(
        {
            "addHosts",
            "buildArgs",
            "buildOnPreview",
            "builder",
            "cacheFrom",
            "cacheTo",
            "context",
            "dockerfile",
            "exec",
            "exports",
            "ignoreSecretsInDiffCalculation",
            "labels",
            "load",
            "network",
            "noCache",
            "platforms",
            "pull",
            "push",
            "registries",
            "secrets",
            "ssh",
            "tags",
            "target",
        }
    ),
    INDEX: frozenset({"push", "registry", "sources", "tag"}),
}
_REFERENCE: Final = re.compile(r"^(?P<host>[^/]+)/(?P<repository>[^:@]+):(?P<tag>[\w.-]+)$")
_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"


def context_hash(inputs: Props) -> str:
    """Hash of what an image is built of.

    Raises:
        DoubleError: The context or the Dockerfile is not there.
    """
    folder = Path(str((inputs.get("context") or {}).get("location") or "."))
    if not folder.is_dir():
        raise DoubleError(f'context: "{folder}": not a valid directory or URL')
    given = inputs.get("dockerfile") or {}
    file = Path(str(given.get("location") or folder / "Dockerfile"))
    if "inline" not in given and not file.is_file():
        raise DoubleError(f"dockerfile: open {file}: no such file or directory")
    digest = hashlib.sha256(str(given.get("inline", "")).encode())
    for path in sorted({*(item for item in folder.rglob("*") if item.is_file()), *([file] if file.is_file() else [])}):
        digest.update(f"{path.name}\0{path.stat().st_mode}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class DockerBuild(Double):
    """Images and indexes."""

    name = PLUGIN
    version = sdk_version(PLUGIN)

    def computed(self, token: str) -> Sequence[str]:
        return ("contextHash", "digest", "ref") if token == IMAGE else ("ref",)

    def check(self, call: Call) -> Checked:
        known = _PROPERTIES.get(call.token)
        if known is None:
            raise DoubleError(f"the double of docker-build has no resource type {call.token}")
        failures = [(key, f"{call.token} has no property {key}") for key in call.inputs if key not in known]
        if call.token == IMAGE and not has_unknown([call.inputs.get("context"), call.inputs.get("dockerfile")]):
            try:
                context_hash(call.inputs)
            except DoubleError as error:
                failures.append(("context", str(error)))
        return Checked(inputs=call.inputs, failures=tuple(failures))

    def diff(self, call: Call) -> Changes:
        changes = super().diff(call)
        # Who is asked for a password gives a new one each time; the real plugin does not take that for a change.
        details = {path: item for path, item in changes.details.items() if path[0] not in ("registries", "registry")}
        known = call.token == IMAGE and not has_unknown([call.inputs.get("context"), call.inputs.get("dockerfile")])
        if known and context_hash(call.inputs) != call.olds.get("contextHash"):
            details["contextHash",] = Difference(Change.UPDATE)
        return Changes(details=details)

    def preview_update(self, call: Call) -> Props:
        return {**super().preview_update(call), **dict.fromkeys(self.computed(call.token), UNKNOWN)}

    def create(self, call: Call) -> tuple[str, Props]:
        state = self._push(call)
        return str(state["ref"]), state

    def update(self, call: Call) -> Props:
        return self._push(call)

    def read(self, call: Call) -> Found | None:
        return Found(id=call.id, state=call.olds, inputs=call.inputs)

    def delete(self, call: Call) -> None:
        """Nothing: pushed images stay until their repository goes."""

    def _push(self, call: Call) -> Props:
        image = call.token == IMAGE
        source = context_hash(call.inputs) if image else json.dumps(call.inputs["sources"])
        what = [source, call.inputs.get("buildArgs"), call.inputs.get("platforms"), call.inputs.get("target")]
        config = hashlib.sha256(json.dumps(what).encode()).hexdigest()
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": {"digest": f"sha256:{config}", "size": 1}, "layers": []}
        text = json.dumps(manifest, sort_keys=True)
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        tags = call.inputs.get("tags") or [] if image else [call.inputs["tag"]]
        if call.inputs.get("push"):
            if not tags:
                raise DoubleError("at least one tag or export name is needed when pushing to a registry")
            for tag in tags:
                self._put(call, str(tag), text)
        ref = f"{str(tags[0]).rsplit(':', 1)[0]}@{digest}" if tags else digest
        return {**call.inputs, "ref": ref, **({"digest": digest, "contextHash": source} if image else {})}

    @staticmethod
    def _put(call: Call, tag: str, manifest: str) -> None:
        found = _REFERENCE.match(tag)
        if found is None or ".dkr.ecr." not in found["host"]:
            raise DoubleError(f"{tag}: this double pushes to the registry of the aws double alone")
        listed: list[Any] = call.inputs.get("registries") or [call.inputs.get("registry") or {}]
        if not any(item.get("password") and str(item.get("address", "")).split("/")[0] == found["host"] for item in listed):
            raise DoubleError(f"failed to push {tag}: unexpected status from HEAD request to https://{found['host']}: 401 Unauthorized")
        client: Any = botocore.session.Session().create_client(
            "ecr",
            region_name=found["host"].split(".")[3],
            endpoint_url=os.environ["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        try:
            client.put_image(repositoryName=found["repository"], imageManifest=manifest, imageTag=found["tag"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ImageAlreadyExistsException":
                raise DoubleError(f"failed to push {tag}: {error.response['Error']['Message']}") from error
