"""The cloud's process: moto's server with our EKS and EC2's rules. Prints its port, serves until it is ended or who started it is gone."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any, Final

_METHOD: Final = re.compile(r"(?<!^)(?=[A-Z])")
_POLICIES: Final = (
    "AmazonEKS",
    "AmazonEC2",
    "AmazonEBS",
    "AmazonSSM",
    "AmazonS3",
    "AmazonECR",
    "CloudWatch",
    "AdministratorAccess",
    "ReadOnlyAccess",
)


def _fewer_policies() -> None:
    """Keep those of AWS' own policies that a fleet might name: all 1,500 are read anew at each reset, for seconds."""
    import moto.iam.models  # noqa: PLC0415  # only this process has moto

    models: Any = moto.iam.models
    known = json.loads(models.aws_managed_policies_data)
    models.aws_managed_policies_data = json.dumps({name: policy for name, policy in known.items() if name.startswith(_POLICIES)})


def _read_once() -> None:
    """Keep what botocore reads: moto makes a session for each partition, and each reads all endpoints and all of EC2 again."""
    from botocore.loaders import JSONFileLoader  # noqa: PLC0415  # imported where moto is

    plain = JSONFileLoader()

    @functools.cache
    def read(path: str) -> Any:
        return plain_read(plain, path)

    plain_read = JSONFileLoader.load_file
    setattr(JSONFileLoader, plain_read.__name__, lambda _, path: read(path))


def _install_eks() -> None:
    from moto.core.responses import ActionResult  # noqa: PLC0415  # only this process has moto
    from moto.core.utils import get_service_model  # noqa: PLC0415
    from moto.eks import urls  # noqa: PLC0415
    from moto.eks.exceptions import EKSError  # noqa: PLC0415
    from moto.eks.models import EKSBackend  # noqa: PLC0415
    from moto.eks.responses import EKSResponse  # noqa: PLC0415

    from tests.doubles.aws import FAULT_HEADER, PACE_HEADER  # noqa: PLC0415  # the path comes first
    from tests.doubles.aws.eks_api import Eks  # noqa: PLC0415
    from tests.doubles.aws.eks_rules import EksError, Region  # noqa: PLC0415

    kinds = {
        name: type(name, (EKSError,), {"TYPE": name, "STATUS": status})
        for name, status in (
            ("ResourceInUseException", 409),
            ("ResourceNotFoundException", 404),
            ("InvalidParameterException", 400),
            ("InvalidRequestException", 400),
        )
    }
    before = EKSBackend.__init__

    def init(self: Any, region_name: str, account_id: str) -> None:
        before(self, region_name, account_id)
        self.ours = Eks(Region(region_name, self.partition))

    setattr(EKSBackend, before.__name__, init)

    def operation(method: str) -> Any:
        def call(self: Any) -> Any:
            eks: Eks = self.eks_backend.ours
            with eks.lock:
                eks.pace = float(self.headers.get(PACE_HEADER, "0"))
                eks.fault = json.loads(self.headers.get(FAULT_HEADER, "{}"))
                parameters = {**self.params}
                parameters.pop("clientRequestToken", None)
                try:
                    return ActionResult(getattr(eks, method)(**parameters))
                except EksError as error:
                    raise kinds[error.kind](message=error.message) from error

        return call

    plain = EKSResponse.__init__

    def parsed(self: Any) -> None:
        plain(self)
        self.automated_parameter_parsing = True

    setattr(EKSResponse, plain.__name__, parsed)
    paths = set()
    model = get_service_model("eks")
    for name in model.operation_names:
        method = _METHOD.sub("_", name).lower()
        if hasattr(Eks, method):
            setattr(EKSResponse, method, operation(method))
            path = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", model.operation_model(name).http["requestUri"])
            for name_of_arn in ("resourceArn", "principalArn", "policyArn"):
                path = path.replace(f"(?P<{name_of_arn}>[^/]+)", f"(?P<{name_of_arn}>.+)")
            paths.add(path)
    urls.url_paths.clear()
    for path in sorted(paths):
        urls.url_paths[f"{{0}}{path}$"] = urls.response.dispatch


def _end_with_parent(parent: int) -> None:
    """End when who started us is gone: a killed test run must leave no server."""
    while os.getppid() == parent:
        threading.Event().wait(1.0)
    os._exit(0)


def main() -> None:
    """Serve on a free port of loopback."""
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"  # a role can be given only what there is
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # two seconds, for images that nobody boots
    root = str(Path(__file__).resolve().parents[3])
    if root not in sys.path:
        sys.path.insert(0, root)

    _read_once()
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415  # the path comes first
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415

    from tests.doubles.aws import rules  # noqa: PLC0415

    _fewer_policies()
    _install_eks()
    rules.install()
    rules.install_placement_groups()
    rules.install_immutable_tags()
    rules.install_tls()
    app = _one_at_a_time(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_quiet(MotoRequestHandler))
    print(server.server_port, flush=True)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    server.serve_forever()


def _one_at_a_time(app: Any) -> Any:
    """An application that answers one request after another, on connections of which many are open.

    moto's backends are plain dicts without a lock: one that is looked through while another request puts something in answers with 500.
    """
    lock = threading.Lock()

    def answer(environ: Any, start_response: Any) -> Any:
        with lock:
            return app(environ, start_response)

    return answer


def _quiet(handler: Any) -> Any:
    """A handler that writes no line a request."""
    return type("Quiet", (handler,), {"log": lambda *_: None, "log_request": lambda *_: None})


if __name__ == "__main__":
    main()
