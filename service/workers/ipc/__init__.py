"""Communication of HTTP workers and engine processes: a message stream, and shared memory for inputs."""
