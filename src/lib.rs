//! orlop: a daemonless OCI container runtime.
//!
//! A spec is turned into a plan ([`spec`]), the plan is carried out by two
//! short sequences, on the host's side ([`container`]) and on the container's
//! ([`init`]), over typed system calls ([`sys`]).

pub mod cgroup;
pub mod cli;
pub mod container;
pub mod criu;
pub mod error;
pub mod hooks;
pub mod init;
pub mod log;
pub mod net;
pub mod rdt;
pub mod seccomp;
pub mod spec;
pub mod sys;

pub use error::{Error, Result};
