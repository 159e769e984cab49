//! docker as people use it, all of it on the runtime: a walk through its
//! commands and flags with a daemon that has its network and the runtime as the
//! default, then builds, hooks, swarm, and the daemon configured otherwise.
//! Only in the VM: docker changes the machine it runs on.

mod basics;
mod build;
mod control;
mod ends;
mod files;
mod flags;
mod hooks;
mod namespaces;
mod swarm;
mod terminal;
mod unusual;
mod walk;
