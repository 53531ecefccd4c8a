from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from local.cli.orphans import end_orphans, orphans


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc on this system")
def test_helpers_of_a_killed_engine_are_ended_and_nothing_else(tmp_path: Path) -> None:
    environment = {**os.environ, "PULUMI_HOME": str(tmp_path)}
    wait = "import time; time.sleep(600)"
    helper = subprocess.Popen([sys.executable, "-c", wait, "/x/pulumi-resource-kubernetes"], env=environment)
    dynamic = subprocess.Popen([sys.executable, "-c", wait, "pulumi.dynamic"], env=environment)
    helm = subprocess.Popen([sys.executable, "-c", wait, "/x/helm", "install"], env=environment, start_new_session=True)
    own_helm = subprocess.Popen([sys.executable, "-c", wait, "/x/helm", "install"], env=environment)
    other = subprocess.Popen([sys.executable, "-c", wait, "/x/pulumi-resource-kubernetes"])
    shell = subprocess.Popen([sys.executable, "-c", wait], env=environment)
    try:
        assert sorted(orphans(tmp_path)) == sorted([helper.pid, dynamic.pid, helm.pid])
        killer = threading.Thread(target=lambda: (helper.wait(), dynamic.wait(), helm.wait()))  # init would reap them
        killer.start()
        assert end_orphans(tmp_path) == 3
        killer.join()
        assert (helper.returncode, dynamic.returncode, helm.returncode) == (-signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL)
        assert own_helm.poll() is None
        assert other.poll() is None
        assert shell.poll() is None
    finally:
        for process in (helper, dynamic, helm, own_helm, other, shell):
            process.kill()
            process.wait()
