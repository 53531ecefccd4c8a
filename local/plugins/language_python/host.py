"""``pulumirpc.LanguageRuntime`` for Python: runs a user's program and tells the engine what the program needs.

Protocol: one line with the port on standard output, then gRPC on that port; the engine's address is the last argument. It does what the
official host does for programs, dynamic providers, policy packs, components in plugins, and the options ``virtualenv``,
``toolchain: pip|uv`` and ``typechecker``. It does not generate code (``pulumi convert``, ``pulumi package gen-sdk``) or attach debuggers:
these calls return "unimplemented", which the engine reports.

Imported after `light_packages`: it needs the protocol's modules and nothing else of the SDK.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import queue
import select
import signal
import stat
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf import empty_pb2, json_format
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from local.plugins.language_python.children import Children, stop
from local.plugins.language_python.options import Interpreter, OptionError, Options
from local.plugins.language_python.program import exec_arguments, find_executor, required_plugins

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from google.protobuf import message

SHOWN_TO_USER_EXIT_CODE: Final = 32
"""Exit code of pulumi-language-python-exec after it has reported the error: the engine must not report it again."""
MAX_MESSAGE: Final = 400 * 1024 * 1024
"""Bytes: the engine's limit (``rpcutil.GrpcChannelOptions``)."""
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


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Serves ``pulumirpc.LanguageRuntime`` for Python."""

    def __init__(self, engine_address: str, version: str) -> None:
        self._engine_address = engine_address
        self._version = version
        self.children = Children()

    # ------------------------------------------------------------------ the host itself
    def Handshake(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Store the engine's address."""
        self._engine_address = request.engine_address or self._engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Return the SDK's version."""
        return plugin_pb2.PluginInfo(version=self._version)

    def About(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Return the Python that runs programs, for ``pulumi about``."""
        known = self._inspect(request.info, context, _FACTS_SCRIPT)
        return language_pb2.AboutResponse(executable=known["executable"], version=known["version"], metadata={"host": "triton-fleet"})

    def RuntimeOptionsPrompts(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Prompt for nothing."""
        return language_pb2.RuntimeOptionsResponse()

    def Template(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Leave a new project unchanged."""
        return language_pb2.TemplateResponse()

    # ------------------------------------------------------------------ dependencies
    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """List the resource plugins of the installed packages."""
        found = self._required(request.info, context)
        return language_pb2.GetRequiredPackagesResponse(packages=[plugin_pb2.PackageDependency(kind="resource", **one) for one in found])

    def GetRequiredPlugins(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """List the same plugins for older engines."""
        found = self._required(request.info, context)
        return language_pb2.GetRequiredPluginsResponse(plugins=[plugin_pb2.PluginDependency(kind="resource", **one) for one in found])

    def GetProgramDependencies(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """List the installed packages; without ``transitiveDependencies``, only those that no other package needs."""
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
        """Create the virtual environment if it is missing, and install requirements.txt or the project into it."""
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
                    context.abort(grpc.StatusCode.INTERNAL, f"`{' '.join(command)}` failed with exit code {code}; see its output above")
                elif name != "exit":
                    yield response(stdout=chunk) if name == "stdout" else response(stderr=chunk)

    # ------------------------------------------------------------------ running
    def Run(self, request: Any, context: grpc.ServicerContext) -> message.Message:
        """Run the program. A failure that the program has reported itself is a bail, without a second message."""
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
            return "pulumi-language-python-exec is neither in the language host's folder nor on PATH: run `make doctor`", False
        environment = interpreter.environment(os.environ)
        environment["PULUMI_CONFIG"] = json.dumps(dict(request.config))
        environment["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
        directory = request.pwd or request.info.program_directory or None
        if options.typechecker is not None:
            program = Path(request.info.program_directory or ".") / request.info.entry_point
            check = [interpreter.executable, "-m", options.typechecker, str(program)]
            if self._wait(check, context, cwd=directory, env=environment):
                return f"{options.typechecker} found type errors in the program; see above", False
        arguments = exec_arguments(request, executor)
        arguments[2:2] = ["--engine", self._engine_address]
        # The program inherits this host's output, which the engine shows under the stack.
        code = self._wait([interpreter.executable, *arguments], context, cwd=directory, env=environment)
        if code < 0:
            return f"Program was ended by signal {signal.Signals(-code).name}", False
        if code in {0, SHOWN_TO_USER_EXIT_CODE}:
            return "", code == SHOWN_TO_USER_EXIT_CODE
        return f"Program exited with non-zero exit code: {code}", False

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Generator[message.Message]:
        """Run a folder as a plugin; stream its output, then its exit code. Stops it when the engine disconnects.

        As with the official host, policy packs run under the SDK's ``pulumi.policy``, everything else as the folder's ``__main__``.
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
        """Stop the running program."""
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
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{interpreter.executable} can't list its packages: {done.stderr.strip()}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def _required(self, info: Any, context: grpc.ServicerContext) -> list[dict[str, Any]]:
        # The files nearly always contain the versions. Reading the metadata of all packages would add 0.2 s to every command.
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


def signals() -> int:
    """A pipe that becomes readable on SIGINT or SIGTERM.

    A `threading.Event` set by a handler was rejected: a signal between the interpreter's last check for signals and the wait for the
    event's lock is missed, and the host kept waiting (seen twice in a thousand runs on a busy machine).
    """
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return woken


def wait_for_end(woken: int, engine: int | None) -> None:
    """Wait for a signal, or until the engine's end of the pipe ``engine`` is closed, which happens even if the engine is killed."""
    watched = [woken] if engine is None else [woken, engine]
    while True:
        readable, _, _ = select.select(watched, [], [])
        if woken in readable:
            return
        with contextlib.suppress(OSError):
            if os.read(readable[0], 4096):
                continue
        return


def serve(arguments: list[str]) -> int:
    """Serve until SIGINT or SIGTERM, or until the engine exits. Exit code 0, or 2 for invalid arguments."""
    if not arguments or ":" not in arguments[-1]:
        print(
            "pulumi-language-python: the last argument must be the engine's address; only the engine starts this program", file=sys.stderr
        )
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
    # The engine holds the other end of this pipe. No program may keep running after the engine dies, even by SIGKILL.
    wait_for_end(woken, 0 if stat.S_ISFIFO(os.fstat(0).st_mode) else None)
    host.children.stop_all()
    server.stop(grace=0.2).wait(0.4)
    return 0
