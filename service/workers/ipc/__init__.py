"""What two processes share: a stream of messages, and memory for inputs."""
