"""The `aws` plugin's double: rows and functions behind the provider protocol."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlparse

from botocore.exceptions import BotoCoreError, ClientError

from local.plugins.kubernetes.properties import UNKNOWN
from tests.doubles.aws import PLUGIN, ec2, eks, iam, machines, others, s3
from tests.doubles.aws.functions import FUNCTIONS
from tests.doubles.aws.rows import Row, Table, preview
from tests.doubles.aws.session import Session, code_of
from tests.doubles.install import sdk_version
from tests.doubles.provider import Call, Changes, Checked, Double, DoubleError, Found, Props

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.doubles.provider import World

ROWS: Final[dict[str, Row]] = {**ec2.ROWS, **machines.ROWS, **iam.ROWS, **others.ROWS, **eks.ROWS, **s3.ROWS}
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_CONFIG: Final = frozenset(
    {"region", "profile", "version", "defaultTags", "skipCredentialsValidation", "skipMetadataApiCheck", "skipRegionValidation"}
)


class Aws(Double):
    """Rows over a cloud on this machine."""

    name = PLUGIN
    version = sdk_version(PLUGIN)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._table = Table(ROWS)
        self._sessions: dict[str, Session] = {}
        self._region = os.environ.get("AWS_REGION", "")
        self._endpoint = os.environ.get("AWS_ENDPOINT_URL", "")

    def configure(self, variables: Props) -> None:
        unknown = sorted(set(variables) - _CONFIG)
        if unknown:
            raise DoubleError(f"the provider aws has no setting {', '.join(unknown)} in this double")
        if urlparse(self._endpoint).hostname not in _LOOPBACK:
            raise DoubleError(
                f"AWS_ENDPOINT_URL={self._endpoint!r} is not on this machine: the double of aws asks no real cloud (cloud.Cloud)"
            )
        self._region = str(variables.get("region") or self._region)
        if not self._region:
            raise DoubleError("invalid AWS Region: set aws:region, or AWS_REGION")

    def _session(self, call: Call) -> Session:
        region = str(call.inputs.get("region") or call.olds.get("region") or self._region)
        if region not in self._sessions:  # 20 ms each
            self._sessions.setdefault(region, Session(region, self._endpoint, self.world.clock.pace))
        return self._sessions[region]

    def replaces(self, token: str) -> Sequence[str]:
        return (*self._table.row(token).replaces, "region")

    def name_property(self, token: str) -> str | None:
        return self._table.row(token).name

    def check(self, call: Call) -> Checked:
        row = self._table.row(call.token)
        failures = self._table.problems(call.token, call.inputs)
        inputs = call.inputs if row.name is None else call.named(row.name, length=row.name_length)
        if not failures:
            # What is known of a preview's arguments is checked in the preview, as the real provider's schema does it.
            inputs_sent = {**row.defaults, **{key: value for key, value in inputs.items() if key != "__defaults"}}
            try:
                self._table.parameters(self._session(call), row, call, inputs_sent)
                if row.verify is not None:
                    row.verify(inputs_sent)
            except DoubleError as error:
                failures = [("", str(error))]
        return Checked(inputs=inputs, failures=tuple(failures))

    def diff(self, call: Call) -> Changes:
        changes = super().diff(call)
        lost = {key for key in self._table.row(call.token).replaced_without if call.old_inputs.get(key) and not call.inputs.get(key)}
        details = {path: replace(item, replace=item.replace or path[0] in lost) for path, item in changes.details.items()}
        return replace(changes, details=details, delete_first=changes.delete_first or bool(lost))

    def preview(self, call: Call) -> Props:
        return {**preview(self._table.row(call.token), call.inputs), "region": call.inputs.get("region") or self._region}

    def preview_update(self, call: Call) -> Props:
        row = self._table.row(call.token)
        state = super().preview_update(call)
        data = {key for update in row.updates for key in update.properties} if row.unknown_on_update else set()
        if any(call.old_inputs.get(key) != call.inputs.get(key) for key in data):
            state |= dict.fromkeys(row.unknown_on_update, UNKNOWN)
        for path in row.computed:
            # A block that is given again has lost what AWS had put into it; that does not change.
            head, _, rest = path.partition(".")
            old = call.olds.get(head)
            if rest and isinstance(state.get(head), dict) and isinstance(old, dict) and rest in old:
                state[head] = {rest: old[rest], **state[head]}
        return state

    def create(self, call: Call) -> tuple[str, Props]:
        return self._table.create(self._session(call), call)

    def update(self, call: Call) -> Props:
        return self._table.update(self._session(call), call)

    def read(self, call: Call) -> Found | None:
        return self._table.read(self._session(call), call)

    def delete(self, call: Call) -> None:
        self._table.delete(self._session(call), call)

    def invoke(self, call: Call) -> Props:
        function = FUNCTIONS.get(call.token)
        if function is None:
            raise DoubleError(f"the double of aws has no function {call.token}: write one (tests/doubles/aws/functions.py)")
        try:
            found: Props = function(self._session(call), call.inputs)
        except ClientError as error:
            raise DoubleError(f"invoking {call.token}: {code_of(error)}: {error.response['Error'].get('Message', '')}") from error
        except BotoCoreError as error:
            raise DoubleError(f"invoking {call.token}: {error}") from error
        else:
            return found
