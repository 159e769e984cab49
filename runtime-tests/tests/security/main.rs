//! Attacks that have worked on other runtimes, one module per family.
//!
//! Each says what would be seen if the defence were missing: none of them can
//! only pass. The rootfs is hostile, a sibling may race us, `config.json` and
//! the state directory are trusted.

mod cwd;
mod exe;
mod labels;
mod masks;
mod planted;
mod procfs;
mod races;
mod rights;
mod traps;
mod users;
