//! podman, docker and containerd run containers on the runtime: limited ones
//! with each cgroup manager, and with the security profiles that are their
//! default. Only in the VM: engines change the machine they run on.

mod checkpoint;
mod containerd;
mod docker;
mod identities;
mod podman;
mod side_by_side;
