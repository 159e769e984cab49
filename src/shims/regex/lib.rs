//! regex-lite under the name of regex.
//!
//! oci-spec checks one string with a regular expression (`execCPUAffinity`).
//! With the whole of regex the program would be a third larger, and each time
//! it starts, the loader would relocate 6000 pointers into Unicode tables that
//! nothing uses (docs/performance.md, "Start-up").

pub use regex_lite::*;
