"""HTTP requests as raw bytes."""

import socket


def exchange(port: int, request: bytes, timeout: float = 10) -> bytes:
    """Send the bytes, and return the server's answer until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer
