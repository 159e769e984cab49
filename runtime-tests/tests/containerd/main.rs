//! containerd with this runtime: by its own client, and by the interface that
//! Kubernetes calls it with. Only in the VM (make test-vm).

mod checkpoint;
mod cri;
mod ctr;
mod grpc;
mod isolation;
mod messages;
mod node;
mod pods;
mod proto;
mod streams;
mod users;
