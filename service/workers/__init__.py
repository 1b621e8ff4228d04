"""Several processes as one service: a supervisor, HTTP workers and engine servers."""

from service.workers.control_socket import exit_now
from service.workers.supervisor import Supervisor

__all__ = ["Supervisor", "exit_now"]
