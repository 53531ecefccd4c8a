"""A double of the `aws` plugin: Pulumi's resources become calls of boto3, which a moto server on this machine answers.

`cloud` is the server: moto, with what it lacks put in (`eks_api`: all of EKS that changes with time; `rules`: what may not be deleted).
`provider` is the plugin: one row a resource type (`ec2`, `eks`, `iam`, `s3`, `others`), all done by `rows`. Arguments are checked three
times: the row refuses properties that it does not know, botocore those that AWS would refuse to read, and the server what AWS would refuse
to do.
"""

from __future__ import annotations

from typing import Final

PLUGIN: Final = "aws"
DOUBLE: Final = "tests.doubles.aws.provider:Aws"
"""For `tests.doubles.install`."""
PACE_HEADER: Final = "x-doubles-pace"
FAULT_HEADER: Final = "x-doubles-fault"
ACCOUNT: Final = "123456789012"
"""moto's."""
