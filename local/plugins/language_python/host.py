"""pulumi-language-python in Python: the engine starts it, it starts the user's program and says what the program needs.

Where Pulumi's release archive can be had, its own language host lies beside the CLI and is used; this one is for machines that reach
package registries only, where the CLI is built from its Go module: the host is a module of its own there, which no registry has.

Protocol: one line with the port on standard output, then ``pulumirpc.LanguageRuntime`` on that port; the engine's address is the last
argument. What it does as the official one: programs, dynamic providers, policy packs, components in plugins, the options ``virtualenv``,
``toolchain: pip|uv`` and ``typechecker``. What it does not: code generation (``pulumi convert``, ``pulumi package gen-sdk``), debugger
attachment; the engine is told "unimplemented" and says so.

This file is run by path and imports nothing of this project: it must start fast and from any directory.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import queue
import select
import shutil
import signal
import stat
import subprocess
import sys
import threading
import types
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from google.protobuf import message


def _light_packages() -> None:
    """Make the SDK's protocol modules importable without running ``pulumi/__init__.py``: that takes a second, on every command."""
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        sys.exit("pulumi-language-python: the Python that runs the language host has no `pulumi` package; run `make doctor`")
    root = Path(spec.origin).parent
    for name, folder in (("pulumi", root), ("pulumi.runtime", root / "runtime"), ("pulumi.runtime.proto", root / "runtime" / "proto")):
        if name not in sys.modules:
            module = types.ModuleType(name)
            module.__path__ = [str(folder)]
            sys.modules[name] = module


if __name__ == "__main__" and "pulumi" not in sys.modules:
    _light_packages()

import grpc  # noqa: E402 (after the light packages)
from google.protobuf import empty_pb2, json_format  # noqa: E402
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2  # noqa: E402

SHOWN_TO_USER_EXIT_CODE: Final = 32
"""Exit code of pulumi-language-python-exec when it has already reported the error: the engine must not report a second one."""
MAX_MESSAGE: Final = 400 * 1024 * 1024
"""Bytes; the engine's own limit (``rpcutil.GrpcChannelOptions``)."""
_STOP_GRACE_S: Final = 4.0
"""Between SIGTERM and SIGKILL for children; the engine kills the host 5 s after it asks it to end."""

_FACTS_SCRIPT: Final = """
import json, sys
print(json.dumps({"path": sys.path, "executable": sys.executable, "version": sys.version.split()[0], "found": []}))
"""
_DISTRIBUTIONS_SCRIPT: Final = """
import importlib.metadata as m, json, re, sys
norm = lambda n: re.sub(r"[-_.]+", "-", n).lower()
found = {}
for d in m.distributions():
    name = d.metadata["Name"]
    if name and norm(name) not in found:
        requires = [norm(re.split(r"[ ;\\[<>=!~(]", r, maxsplit=1)[0]) for r in d.requires or [] if "extra ==" not in r]
        found[norm(name)] = (norm(name), d.version, requires)
print(json.dumps({"path": sys.path, "executable": sys.executable, "version": sys.version.split()[0], "found": list(found.values())}))
"""


class OptionError(Exception):
    """A runtime option in Pulumi.yaml that can't be followed."""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """The Python that runs a program or plugin."""

    executable: str
    virtualenv: Path | None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """``base`` as it is after ``source bin/activate``."""
        environment = dict(base)
        if self.virtualenv is not None:
            environment["VIRTUAL_ENV"] = str(self.virtualenv)
            environment["PATH"] = f"{self.virtualenv / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
            environment.pop("PYTHONHOME", None)
        return environment


@dataclass(frozen=True, kw_only=True)
class Options:
    """``runtime.options`` of Pulumi.yaml, PulumiPlugin.yaml or PulumiPolicy.yaml."""

    virtualenv: str | None
    toolchain: str
    typechecker: str | None

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Options:
        """Read the options. Raises OptionError for a toolchain or type checker that this host does not know."""
        toolchain = str(options.get("toolchain") or "pip").lower()
        if toolchain not in {"pip", "uv"}:
            message = (
                f"runtime.options.toolchain is {toolchain!r}: this language host knows pip and uv. "
                "Set one, or install Pulumi's own release."
            )
            raise OptionError(message)
        typechecker = options.get("typechecker")
        if typechecker not in {None, "", "none", "mypy", "pyright"}:
            message = f"runtime.options.typechecker is {typechecker!r}: use mypy, pyright or none."
            raise OptionError(message)
        virtualenv = str(options.get("virtualenv") or "") or (".venv" if toolchain == "uv" else None)
        return cls(virtualenv=virtualenv, toolchain=toolchain, typechecker=None if typechecker in {"", "none"} else typechecker)

    def virtualenv_path(self, root: Path) -> Path | None:
        """Where the virtual environment is: relative to ``root``, the folder of the project file; with uv also above it."""
        if self.virtualenv is None:
            return None
        given = Path(self.virtualenv).expanduser()
        if given.is_absolute():
            return given
        if self.toolchain == "uv":
            for folder in (root, *root.parents):
                if (folder / given / "bin" / "python").exists():
                    return folder / given
        return root / given

    def interpreter(self, root: Path) -> Interpreter:
        """Find the Python to run. Raises OptionError when the virtual environment that is named isn't one."""
        virtualenv = self.virtualenv_path(root)
        if virtualenv is not None:
            python = virtualenv / "bin" / "python"
            if not python.exists():
                message = (
                    f"The 'virtualenv' option is set to {self.virtualenv!r}, but {virtualenv} is no virtual environment. "
                    "Run `pulumi install` (or `make env` in Triton Fleet) to make it."
                )
                raise OptionError(message)
            return Interpreter(executable=str(python), virtualenv=virtualenv)
        wanted = os.environ.get("PULUMI_PYTHON_CMD")
        for name in (wanted,) if wanted else ("python3", "python"):
            found = shutil.which(name)
            if found is not None:
                return Interpreter(executable=found, virtualenv=None)
        message = f"No Python on PATH ({wanted or 'python3, python'}): install it, or set runtime.options.virtualenv."
        raise OptionError(message)


def required_plugins(search_path: Iterable[str], versions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Plugins that the installed ``pulumi_*`` packages ask for: name, version (``v`` and a number), download server (or empty).

    A package says what it needs in ``pulumi-plugin.json``; without a version there, the package's own counts, as with the official host.
    """
    plugins: dict[tuple[str, str], dict[str, Any]] = {}
    seen: set[str] = set()
    for entry in search_path:
        folder = Path(entry)
        if not entry or not folder.is_dir():
            continue
        for file in sorted(folder.glob("*/pulumi-plugin.json")):
            package = file.parent.name
            if package in seen:
                continue
            seen.add(package)
            try:
                said = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if not isinstance(said, dict) or not said.get("resource") or said.get("parameterization"):
                continue
            name = said.get("name") or package.removeprefix("pulumi_").removeprefix("pulumi-")
            version = said.get("version") or versions.get(package.replace("_", "-"), "")
            if version and not version.startswith("v"):
                version = f"v{version}"
            plugins[name, version] = {"name": name, "version": version, "server": said.get("server") or ""}
    return list(plugins.values())


def exec_arguments(request: Any, executor: str) -> list[str]:
    """Arguments of pulumi-language-python-exec for a RunRequest: empty ones are left out, the program comes last."""
    program_directory = request.info.program_directory or request.pwd or "."
    named = {
        "project": request.project,
        "root_directory": request.info.root_directory,
        "stack": request.stack,
        "pwd": request.pwd or program_directory,
        "dry_run": "true" if request.dryRun else "",
        "parallel": str(request.parallel),
        "monitor": request.monitor_address,
        "organization": request.organization,
    }
    arguments = ["-u", executor]
    for name, value in named.items():
        if value:
            arguments += [f"--{name}", value]
    entry = request.info.entry_point or request.program or "."
    program = entry if Path(request.pwd or ".").resolve() == Path(program_directory).resolve() else str(Path(program_directory) / entry)
    return [*arguments, program, *request.args]


class Children:
    """Processes that this host started and must not leave behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    @contextlib.contextmanager
    def run(self, arguments: list[str], **options: Any) -> Generator[subprocess.Popen[bytes]]:
        """Start a program; it is stopped when the context ends."""
        process = subprocess.Popen(arguments, **options)
        with self._lock:
            self._running.add(process)
        try:
            yield process
        finally:
            stop(process)
            with self._lock:
                self._running.discard(process)

    def stop_all(self) -> None:
        """End every child."""
        with self._lock:
            running = list(self._running)
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End ``process`` if it still runs: politely, then for sure."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Serves ``pulumirpc.LanguageRuntime`` for Python."""

    def __init__(self, engine_address: str, version: str) -> None:
        self._engine_address = engine_address
        self._version = version
        self.children = Children()

    # ------------------------------------------------------------------ who we are
    def Handshake(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Take the engine's address."""
        self._engine_address = request.engine_address or self._engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Say the version: the SDK's."""
        return plugin_pb2.PluginInfo(version=self._version)

    def About(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Say which Python runs programs, for ``pulumi about``."""
        known = self._inspect(request.info, context, _FACTS_SCRIPT)
        return language_pb2.AboutResponse(executable=known["executable"], version=known["version"], metadata={"host": "triton-fleet"})

    def RuntimeOptionsPrompts(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Ask the user nothing."""
        return language_pb2.RuntimeOptionsResponse()

    def Template(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Leave a new project as its template made it."""
        return language_pb2.TemplateResponse()

    # ------------------------------------------------------------------ what a program needs
    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Name the resource plugins of the installed packages."""
        found = self._required(request.info, context)
        return language_pb2.GetRequiredPackagesResponse(packages=[plugin_pb2.PackageDependency(kind="resource", **one) for one in found])

    def GetRequiredPlugins(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Name the same plugins for older engines."""
        found = self._required(request.info, context)
        return language_pb2.GetRequiredPluginsResponse(plugins=[plugin_pb2.PluginDependency(kind="resource", **one) for one in found])

    def GetProgramDependencies(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """List the installed packages; without ``transitiveDependencies`` only those that no other one needs."""
        found = self._inspect(request.info, context)["found"]
        needed = {requirement for _, _, requires in found for requirement in requires}
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[
                language_pb2.DependencyInfo(name=name, version=version)
                for name, version, _ in sorted(found)
                if request.transitiveDependencies or name not in needed
            ]
        )

    def InstallDependencies(self, request: Any, context: grpc.ServicerContext) -> Generator[message.Message]:
        """Make the virtual environment if it lacks and install requirements.txt or the project into it."""
        directory = Path(request.info.program_directory or request.directory)
        root = Path(request.info.root_directory or directory)
        options = self._options(request.info, context)
        virtualenv = options.virtualenv_path(root)
        response = language_pb2.InstallDependenciesResponse
        if options.toolchain == "uv":
            commands = [["uv", "sync"]]
        else:
            python = str(virtualenv / "bin" / "python") if virtualenv is not None else self._interpreter(request.info, context).executable
            commands = [] if virtualenv is None or Path(python).exists() else [[sys.executable, "-m", "venv", str(virtualenv)]]
            if (directory / "requirements.txt").exists():
                commands.append([python, "-m", "pip", "install", "-r", "requirements.txt"])
            elif (directory / "pyproject.toml").exists() and request.is_plugin:
                commands.append([python, "-m", "pip", "install", "-e", "."])
        for command in commands:
            yield response(stdout=f"$ {' '.join(command)}\n".encode())
            for name, chunk, code in self._stream(command, context, cwd=directory, env=dict(os.environ)):
                if name == "exit" and code:
                    context.abort(grpc.StatusCode.INTERNAL, f"`{' '.join(command)}` ended with exit code {code}; its output is above")
                elif name != "exit":
                    yield response(stdout=chunk) if name == "stdout" else response(stderr=chunk)

    # ------------------------------------------------------------------ running
    def Run(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Run the program to its end. A failure that the program reported itself is a bail, without a second message."""
        error, bail = self._run(request, context)
        return language_pb2.RunResponse(error=error, bail=bail)

    def _run(self, request: Any, context: grpc.ServicerContext) -> tuple[str, bool]:
        try:
            interpreter = self._interpreter(request.info, context, abort=False)
            options = Options.parse(json_format.MessageToDict(request.info.options))
        except OptionError as error:
            return str(error), False
        executor = find_executor()
        if executor is None:
            return "pulumi-language-python-exec is neither beside the language host nor on PATH: `make doctor` says how to get it", False
        environment = interpreter.environment(os.environ)
        environment["PULUMI_CONFIG"] = json.dumps(dict(request.config))
        environment["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
        directory = request.pwd or request.info.program_directory or None
        if options.typechecker is not None:
            program = Path(request.info.program_directory or ".") / request.info.entry_point
            check = [interpreter.executable, "-m", options.typechecker, str(program)]
            if self._wait(check, context, cwd=directory, env=environment):
                return f"{options.typechecker} found type errors in the program, see above", False
        arguments = exec_arguments(request, executor)
        arguments[2:2] = ["--engine", self._engine_address]
        # The program's output is this host's: the engine reads it line by line and shows it under the stack.
        code = self._wait([interpreter.executable, *arguments], context, cwd=directory, env=environment)
        if code < 0:
            return f"Program was ended by signal {signal.Signals(-code).name}", False
        if code in {0, SHOWN_TO_USER_EXIT_CODE}:
            return "", code == SHOWN_TO_USER_EXIT_CODE
        return f"Program exited with non-zero exit code: {code}", False

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Generator[message.Message]:
        """Run a folder as a plugin, with its output streamed and its exit code last; ends it when the engine hangs up.

        Policy packs run under the SDK's ``pulumi.policy``, everything else as the folder's ``__main__``, as with the official host.
        """
        interpreter = self._interpreter(request.info, context)
        environment = interpreter.environment(dict(entry.split("=", 1) for entry in request.env if "=" in entry) or os.environ)
        program = str(Path(request.info.program_directory) / request.info.entry_point)
        run = ["-m", "pulumi.policy", *request.args, program] if request.kind == "analyzer" else [program, *request.args]
        response = language_pb2.RunPluginResponse
        command = [interpreter.executable, "-u", *run]
        for name, chunk, code in self._stream(command, context, cwd=request.pwd or None, env=environment):
            yield response(exitcode=code) if name == "exit" else response(stdout=chunk) if name == "stdout" else response(stderr=chunk)

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """End the running program."""
        self.children.stop_all()
        return empty_pb2.Empty()

    # ------------------------------------------------------------------ helpers
    def _options(self, info: Any, context: grpc.ServicerContext) -> Options:
        try:
            return Options.parse(json_format.MessageToDict(info.options))
        except OptionError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise

    def _interpreter(self, info: Any, context: grpc.ServicerContext, *, abort: bool = True) -> Interpreter:
        root = Path(info.root_directory or info.program_directory or ".").absolute()
        try:
            return Options.parse(json_format.MessageToDict(info.options)).interpreter(root)
        except OptionError as error:
            if abort:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise

    def _inspect(self, info: Any, context: grpc.ServicerContext, script: str = _DISTRIBUTIONS_SCRIPT) -> dict[str, Any]:
        interpreter = self._interpreter(info, context)
        command = [interpreter.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=interpreter.environment(os.environ))
        if done.returncode:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"{interpreter.executable} could not list its packages: {done.stderr.strip()}"
            )
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def _required(self, info: Any, context: grpc.ServicerContext) -> list[dict[str, Any]]:
        # The files nearly always say their versions. Reading the metadata of all packages takes 0.2 s, before every command.
        plugins = required_plugins(self._inspect(info, context, _FACTS_SCRIPT)["path"], {})
        if all(one["version"] for one in plugins):
            return plugins
        known = self._inspect(info, context)
        return required_plugins(known["path"], {name: version for name, version, _ in known["found"]})

    def _wait(self, command: list[str], context: grpc.ServicerContext, *, cwd: str | Path | None, env: Mapping[str, str]) -> int:
        with self.children.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL) as process:
            if not context.add_callback(lambda: stop(process)):
                return -signal.SIGTERM
            return process.wait()

    def _stream(
        self, command: list[str], context: grpc.ServicerContext, *, cwd: str | Path | None, env: Mapping[str, str]
    ) -> Generator[tuple[str, bytes, int]]:
        chunks: queue.Queue[tuple[str, bytes]] = queue.Queue()

        def read(name: str, stream: Any) -> None:
            while chunk := stream.read1(65536):
                chunks.put((name, chunk))
            chunks.put((name, b""))

        pipe = subprocess.PIPE
        with self.children.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
            if not context.add_callback(lambda: stop(process)):
                return
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
                threading.Thread(target=read, args=(name, stream), daemon=True).start()
            open_streams = 2
            while open_streams:
                name, chunk = chunks.get()
                if chunk:
                    yield name, chunk, 0
                else:
                    open_streams -= 1
            yield "exit", b"", process.wait()


def find_executor() -> str | None:
    """Path of pulumi-language-python-exec: beside this host's launcher, else on PATH."""
    beside = Path(sys.argv[0]).resolve().parent / "pulumi-language-python-exec"
    return str(beside) if beside.exists() else shutil.which("pulumi-language-python-exec")


def signals() -> int:
    """A pipe's end that can be read from when SIGINT or SIGTERM has come.

    A `threading.Event` that a handler sets was refused: a signal that comes between the interpreter's last look at signals and the wait
    for the event's lock is seen by neither, and the host waited on (seen twice in a thousand runs on a busy machine).
    """
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return woken


def wait_for_end(woken: int, engine: int | None) -> None:
    """Wait for a signal, or until the engine's end of ``engine`` is closed, which the system does however the engine ended."""
    watched = [woken] if engine is None else [woken, engine]
    while True:
        readable, _, _ = select.select(watched, [], [])
        if woken in readable:
            return
        with contextlib.suppress(OSError):
            if os.read(readable[0], 4096):
                continue
        return


def main(arguments: list[str]) -> int:
    """Serve until asked to end (SIGINT, SIGTERM) or until the engine is gone. Exit code 0 unless the arguments are wrong."""
    if not arguments or ":" not in arguments[-1]:
        print("pulumi-language-python: started by the Pulumi engine, with the engine's address as its last argument", file=sys.stderr)
        return 2
    woken = signals()
    version = importlib.metadata.version("pulumi")
    host = LanguageHost(arguments[-1], version)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=16),
        options=[("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)],
    )
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # The engine keeps the other end of this pipe. Its death, even by SIGKILL, must not leave a program running.
    wait_for_end(woken, 0 if stat.S_ISFIFO(os.fstat(0).st_mode) else None)
    host.children.stop_all()
    server.stop(grace=0.2).wait(0.4)
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # gRPC's worker threads may still be inside a call that the engine gave up; waiting for them would make Ctrl-C hang.
    os._exit(code)
