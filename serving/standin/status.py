"""What a request can fail with, by the status codes that gRPC and TF Serving's REST API share."""

from typing import Final

import grpc
import tensorflow as tf

_LONGEST_MESSAGE: Final = 600  # gRPC sends it as a header, percent-encoded, of 8 KiB at most
_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}

HTTP_STATUS: Final = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.DATA_LOSS: 500,
}
"""TF Serving's own mapping (model_servers/http_server.cc)."""


class ServingError(Exception):
    """A request that was refused or failed: `code` for programs, `message` for people."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message[:_LONGEST_MESSAGE]

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    @classmethod
    def of(cls, error: Exception) -> "ServingError":
        """The same fault as a ServingError: TensorFlow's codes are gRPC's; all else is INTERNAL."""
        if isinstance(error, ServingError):
            return error
        if isinstance(error, tf.errors.OpError):
            return cls(_BY_NUMBER[error.error_code], error.message)
        return cls(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")


def invalid(message: str) -> ServingError:
    """INVALID_ARGUMENT, HTTP 400."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    """NOT_FOUND, HTTP 404."""
    return ServingError(grpc.StatusCode.NOT_FOUND, message)
