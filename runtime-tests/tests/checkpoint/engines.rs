//! podman and containerd save and restore on the runtime.
