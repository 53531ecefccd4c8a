"""Stands in for ``python``: the server starts the process, this one waits for it and passes signals on. Filled in by `Warm`."""

import os
import signal
import socket
import sys


def main() -> int:
    """Hand everything over; the exit code, or the negative number of the signal that ended the process."""
    arguments = [os.fsencode(argument) for argument in sys.argv[1:]]
    variables = [key + b"=" + value for key, value in os.environb.items()]
    body = b"\0".join([os.getcwdb(), str(len(arguments)).encode(), *arguments, *variables])  # noqa: PTH109  # bytes, and nothing is imported for it
    server = socket.socket(socket.AF_UNIX)
    os.chdir("@FOLDER@")  # a socket's path must be short
    server.connect("warm")

    def pass_on(number: int, _: object) -> None:
        server.sendall(bytes([number]))

    # The process may run, and say so, before this one goes on: a signal that comes then waits for its handler.
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    socket.send_fds(server, [len(body).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(body)
    for number in signals:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    answer = server.recv(4)
    return int.from_bytes(answer, "big", signed=True) if answer else -signal.SIGKILL


code = main()
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code & 255)
