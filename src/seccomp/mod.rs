//! Seccomp: a profile of the config becomes filters for the kernel.

pub mod tables;
