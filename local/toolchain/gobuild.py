"""Build tools from Go modules, for machines that reach a module proxy but no release downloads.

Each unit has its own module in ``go/<unit>``: go.mod pins the versions, go.sum the digest of every module. All builds share the user's Go
build cache, so that units reuse each other's compiled packages.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.toolchain.errors import SourceUnavailableError, ToolchainError, disk_full, tail
from local.toolchain.process import Running, run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    from local.toolchain.units import GoBuild

MODULES: Final = Path(__file__).parent / "go"
_VERSION: Final = re.compile(r"go(?P<major>\d+)\.(?P<minor>\d+)(?:\.(?P<patch>\d+))?")
_SWITCHES: Final = (1, 21, 0)
"""First version whose go command downloads another toolchain on request (GOTOOLCHAIN)."""
_NETWORK: Final = re.compile(
    r"no such host|connection refused|i/o timeout|network is unreachable|proxyconnect|TLS handshake timeout|x509:|context deadline exceeded"
    r"|50[234] |407 |403 Forbidden",
)


class GoBuilder:
    """Builds units.

    Args:
        official: returns the ``go`` of the official release, cached or downloaded, or raises SourceUnavailableError.
        modules: folder of the units' modules.
    """

    def __init__(self, official: Callable[[], Path], modules: Path = MODULES) -> None:
        self._official = official
        self._modules = modules
        self._go: tuple[str, dict[str, str]] | None = None
        self._find = threading.Lock()

    def digest(self, build: GoBuild) -> str:
        """Return a digest of everything that decides the result: go.mod, go.sum and the recipe."""
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            path = self._modules / build.folder / name
            if not path.is_file():
                raise ToolchainError(f"{path} is missing: {build.folder} can't be built without its pinned versions. Restore it with git.")
            digest.update(path.read_bytes())
        files = [vars(file) for file in build.files]
        digest.update(json.dumps([build.packages, build.ldflags, files], sort_keys=True).encode())
        return digest.hexdigest()

    def build(self, build: GoBuild, folder: Path, scratch: Path) -> None:
        """Build a unit's programs into ``folder``; ``scratch`` takes the compiler's temporary files.

        Raises:
            SourceUnavailableError: no module proxy is reachable, or a module is missing from it.
            ToolchainError: Go is missing or too old, the disk is full, or compilation fails.
        """
        go, env = self.command()
        env = {**env, "GOTMPDIR": str(scratch)}
        out = scratch / "out"
        out.mkdir()
        done = run(
            [go, "build", *_FLAGS, "-ldflags", build.ldflags, "-o", f"{out}{os.sep}", *build.packages],
            env=env,
            cwd=self._modules / build.folder,
        )
        if done.returncode:
            raise self._explain(done, build.folder, env)
        for package, place in build.packages.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (out / package.rpartition("/")[2]).rename(folder / place)
        for module in {file.module for file in build.files}:
            where = self._module_folder(module, build.folder, go, env)
            for file in build.files:
                if file.module == module:
                    target = folder / file.to
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(where / file.path, target)
                    target.chmod(file.mode)

    def prefetch(self, builds: Sequence[GoBuild]) -> Prefetch:
        """Start downloading the modules of ``builds``, one after another, in the background."""
        return Prefetch(self, builds)

    def command(self) -> tuple[str, dict[str, str]]:
        """Return a go command that is new enough, and the environment to run it in.

        Raises:
            ToolchainError: none is installed and none can be downloaded.
        """
        with self._find:
            if self._go is None:
                self._go = self._find_go()
            return self._go

    def caches(self) -> list[Path]:
        """Return the folders of Go's build and module caches; empty without Go."""
        try:
            go, env = self.command()
        except ToolchainError:
            return []
        return [Path(line) for line in run([go, "env", "GOCACHE", "GOMODCACHE"], env=env, cwd=Path("/")).stdout.splitlines() if line]

    # ------------------------------------------------------------------ the go command
    def _find_go(self) -> tuple[str, dict[str, str]]:
        required = self._required()
        named = ".".join(str(part) for part in required)
        # A developer's own Go settings must not change these builds.
        env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GO111MODULE": "on", "GOOS": "linux"}
        if os.uname().machine in _GOARCH:
            env["GOARCH"] = _GOARCH[os.uname().machine]
        found = shutil.which("go")
        seen = "no `go` is on PATH"
        if found is not None:
            version, toolchain = self._version(found, env)
            if version >= required:
                return found, env
            seen = f"{found} is Go {'.'.join(str(part) for part in version)}"
            if version >= _SWITCHES and toolchain != "local":
                other = {**env, "GOTOOLCHAIN": f"go{named}"}
                if self._version(found, other)[0] >= required:
                    return found, other
        try:
            return str(self._official()), env
        except SourceUnavailableError as error:
            raise ToolchainError(
                f"Building tools needs Go {named} or newer, but {seen}, and the official release can't be downloaded: {error}. "
                "Install Go (https://go.dev/doc/install) and put it on PATH, then run again."
            ) from error

    def _required(self) -> tuple[int, int, int]:
        versions = [
            match.groups()
            for path in sorted(self._modules.glob("*/go.mod"))
            if (match := re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?$", path.read_text(), re.MULTILINE))
        ]
        return max(((int(a), int(b), int(c or 0)) for a, b, c in versions), default=_SWITCHES)

    def _version(self, go: str, env: dict[str, str]) -> tuple[tuple[int, int, int], str]:
        done = run([go, "env", "GOVERSION", "GOTOOLCHAIN"], env=env, cwd=Path("/"))
        match = _VERSION.search(done.stdout)
        if done.returncode or match is None:
            return (0, 0, 0), ""
        lines = done.stdout.splitlines()
        return (int(match["major"]), int(match["minor"]), int(match["patch"] or 0)), lines[1] if len(lines) > 1 else ""

    def _module_folder(self, module: str, unit: str, go: str, env: dict[str, str]) -> Path:
        done = run([go, "list", "-mod=readonly", "-m", "-json", module], env=env, cwd=self._modules / unit)
        if done.returncode:
            raise self._explain(done, unit, env)
        described: dict[str, str] = json.loads(done.stdout)
        if "Dir" not in described:
            # `go mod download MODULE@VERSION` prints the folder and, unlike the form without an argument, does not change go.sum.
            done = run([go, "mod", "download", "-json", f"{module}@{described['Version']}"], env=env, cwd=self._modules / unit)
            if done.returncode:
                raise self._explain(done, unit, env)
            described = json.loads(done.stdout)
        return Path(described["Dir"])

    def _explain(self, done: subprocess.CompletedProcess[str], unit: str, env: dict[str, str]) -> ToolchainError:
        text = f"{done.stderr}\n{done.stdout}"
        if "no space left on device" in text or "disk quota exceeded" in text:
            return disk_full(f"building {unit}", *([Path(env["GOTMPDIR"])] if "GOTMPDIR" in env else []), *self.caches())
        if "requires go >=" in text or "go.mod requires go" in text:
            return ToolchainError(
                f"This machine's Go is too old to build {unit}. Install a newer one (https://go.dev/doc/install) or unset "
                f"GOTOOLCHAIN=local so that Go can download one, then run again. Go's output:\n{tail(text, 4)}"
            )
        if _NETWORK.search(text):
            return SourceUnavailableError(
                f"{unit} can't be built: its Go modules can't be downloaded. Check the network, the proxy settings and GOPROXY "
                f"(`go env GOPROXY`), then run again: downloaded modules are kept. Go's output:\n{tail(text, 6)}"
            )
        return ToolchainError(
            f"{unit} can't be built. If the build cache may be corrupt, run `go clean -cache`; otherwise the pinned modules are broken: "
            f"please report it with this output. Go's output:\n{tail(text)}"
        )


_GOARCH: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_FLAGS: Final = ("-mod=readonly", "-buildvcs=false", "-trimpath")


class Prefetch:
    """Downloads modules in the background. Its errors are ignored: the build itself meets and reports them."""

    def __init__(self, builder: GoBuilder, builds: Sequence[GoBuild]) -> None:
        self._builder = builder
        self._builds = list(builds)
        self._running: Running | None = None
        self._stopped = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._fetch, name="module-downloads", daemon=True)
        self._thread.start()

    def _fetch(self) -> None:
        with contextlib.suppress(ToolchainError, OSError):
            go, env = self._builder.command()
            for build in self._builds:
                with self._lock:
                    if self._stopped:
                        return
                    # `go list -deps` fetches only what the build reads and does not change go.sum; `go mod download` does neither.
                    self._running = Running(
                        [go, "list", "-mod=readonly", "-deps", *build.packages],
                        env=env,
                        cwd=self._builder._modules / build.folder,  # noqa: SLF001 (same module)
                    )
                self._running.finish()

    def stop(self) -> None:
        """Stop the download, finished or not."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                self._running.end()
        self._thread.join(timeout=10)
