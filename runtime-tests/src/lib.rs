//! The harness of the behaviour tests: it runs the real `orlop` as root on
//! bundles it makes itself, and looks afterwards at what was left behind.
//!
//! A test makes a [`Case`], edits its config, runs commands and asserts. When
//! the case is dropped, nothing of it may be left: no process, cgroup, mount
//! or state directory.

pub mod apparmor;
pub mod bpf;
pub mod bundle;
pub mod case;
pub mod command;
pub mod console;
pub mod engines;
pub mod host;
pub mod leaks;
pub mod paths;
pub mod reaper;
pub mod sys;

pub use case::Case;
pub use command::{Cmd, Output};
pub use serde_json::{Value, json};

/// Leaves the test, saying why on stderr where `make test` counts it.
///
/// Written past libtest's capture, which would swallow the line of a test
/// that passes.
#[macro_export]
macro_rules! skip {
    ($($why:tt)*) => {{
        fn here() {}
        $crate::host::report_skip(std::any::type_name_of_val(&here), &format!($($why)*));
        return;
    }};
}

/// Leaves the test unless `$cond` is `Ok`; the error is the reason.
#[macro_export]
macro_rules! require {
    ($cond:expr) => {
        if let Err(why) = $cond {
            $crate::skip!("{why}");
        }
    };
}
