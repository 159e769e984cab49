//! The flags before the command, and what they resolve to.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use clap::{Args, Command};

use super::scan::{self, Scan};
use super::values::any_path;
use crate::container::{Manager, Runtime};
use crate::error::{Error, Result, Step};
use crate::log;
use crate::sys::ids::is_users;

/// The version of the runtime-spec this implements.
pub(super) const SPEC_VERSION: &str = "1.3.0";

/// The table of the global flags.
#[derive(Debug, Clone, Args)]
#[command(disable_help_flag = true)]
pub struct Globals {
    /// Directory of the containers' state [default: /run/orlop; without privileges $XDG_RUNTIME_DIR/orlop]
    #[arg(long, value_name = "DIR", value_parser = any_path())]
    pub root: Option<PathBuf>,
    /// Also write messages there: a file, file:PATH, journald:ID or syslog:ID
    #[arg(long, value_name = "FILE", value_parser = any_path())]
    pub log: Option<PathBuf>,
    /// How lines of the log look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Least urgent message to write: error, warning, info or debug [default: error]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// The same as --log-level debug
    #[arg(long)]
    pub debug: bool,
    /// The same as --cgroup-manager systemd
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Who makes cgroups: cgroupfs, systemd or disabled [default: cgroupfs]
    #[arg(long, value_name = "MANAGER")]
    pub cgroup_manager: Option<String>,
    /// Do without a cgroup where none can be made: true, false or auto [default: auto]
    #[arg(long, value_name = "BOOL")]
    pub rootless: Option<String>,
    /// The criu(8) that checkpoint and restore use [default: the one in PATH]
    #[arg(long, value_name = "PATH", value_parser = any_path())]
    pub criu: Option<PathBuf>,
    /// Print the version
    #[arg(short, long)]
    pub version: bool,
    /// Print help; also after a command
    #[arg(short, long)]
    pub help: bool,
}

/// The program with its global flags and no commands.
pub(super) fn command() -> Command {
    Globals::augment_args(Command::new(super::NAME))
        .about("A daemonless OCI container runtime")
        .override_usage(format!("{} [OPTIONS] <COMMAND> [COMMAND OPTIONS] [ARGS]...", super::NAME))
}

/// A flag's text; not given and empty are the same, what is not UTF-8 is no known word.
fn text<'a>(scan: &'a Scan, flag: &str) -> &'a str {
    scan.value(flag).unwrap_or_default().to_str().unwrap_or("\u{fffd}")
}

/// Opens the log by the words alone: a fault in the other flags has to get there.
pub(super) fn open_log(scan: &Scan, parsed: bool) -> Result<()> {
    let mut faults = Vec::new();
    let mut settings = log::Settings { target: scan.value("log"), quiet: parsed, ..log::Settings::default() };
    match text(scan, "log-format") {
        "" | "text" => {}
        "json" => settings.json = true,
        other => faults.push(Error::new(format!("--log-format has to be text or json, not {other:?}"))),
    }
    if scan.is_set("debug") {
        settings.level = log::Level::Debug;
    } else {
        match (text(scan, "log-level"), log::Level::parse(text(scan, "log-level"))) {
            ("", _) => {}
            (_, Some(level)) => settings.level = level,
            (other, None) => {
                faults.push(Error::new(format!("--log-level has to be error, warning, info or debug, not {other:?}")));
            }
        }
    }
    log::init(&settings)?;
    faults.into_iter().next().map_or(Ok(()), Err)
}

/// What a command works with: the global flags, checked.
#[derive(Debug)]
pub struct Context {
    root: Option<PathBuf>,
    manager: Manager,
    rootless: Option<bool>,
    criu: Option<PathBuf>,
}

impl Context {
    /// Checks the flags that do not depend on the machine. They are all text
    /// or booleans, so the words say everything and clap, which would cost as
    /// much again as the command's own flags, is only asked for the table.
    pub(super) fn new(scan: &Scan) -> Result<Self> {
        let text = |flag| text(scan, flag);
        let rootless = text("rootless");
        let rootless = match (rootless, scan::boolean(OsStr::new(rootless))) {
            ("" | "auto", _) => None,
            (_, Some(given)) => Some(given),
            _ => return Err(Error::new(format!("--rootless has to be true, false or auto, not {rootless:?}"))),
        };
        let manager = match text("cgroup-manager") {
            // conmon puts --systemd-cgroup first and podman's --cgroup-manager after it: the latter decides.
            "" if scan.is_set("systemd-cgroup") => Manager::Systemd,
            "" | "cgroupfs" => Manager::Cgroupfs,
            "systemd" => Manager::Systemd,
            "disabled" => Manager::Disabled,
            other => {
                let text = format!("--cgroup-manager has to be cgroupfs, systemd or disabled, not {other:?}");
                return Err(Error::new(text));
            }
        };
        let path = |flag| scan.value(flag).filter(|v| !v.is_empty()).map(PathBuf::from);
        Ok(Self { root: scan.value("root").map(PathBuf::from), manager, rootless, criu: path("criu") })
    }

    /// `--criu`.
    pub(super) fn criu(&self) -> Option<&Path> {
        self.criu.as_deref()
    }

    /// The state root and the rest, for the verbs. `features`, `spec` and
    /// `--version` never ask: docker calls them before there is a root.
    ///
    /// # Errors
    /// `--root` cannot be used, or there is no place for a user's containers.
    pub fn runtime(&self) -> Result<Runtime> {
        let root = match &self.root {
            Some(root) => absolute_root(root)?,
            None => default_root(nix::unistd::geteuid().is_root(), xdg_runtime_dir(), is_users)?,
        };
        Ok(Runtime {
            root,
            root_given: self.root.is_some(),
            manager: self.manager,
            rootless: self.rootless,
            criu: self.criu.clone(),
        })
    }
}

fn absolute_root(given: &Path) -> Result<PathBuf> {
    if given.as_os_str().is_empty() {
        return Err(Error::new("--root is empty"));
    }
    let absolute = match given.is_absolute() {
        true => given.to_owned(),
        false => std::env::current_dir().step("--root: cannot find the current directory")?.join(given),
    };
    let clean = clean(&absolute);
    // Every directory of the system would look like a container, and `delete` removes those.
    if clean == Path::new("/") { Err(Error::new("--root must not be /")) } else { Ok(clean) }
}

/// Takes `.` and `..` out of an absolute path without looking at the disk.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}

/// An empty value counts as none: that is what podman passes as root.
fn xdg_runtime_dir() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// Root of the initial user namespace uses `/run`; everybody else the runtime
/// directory of the session. runc also asks `$USER`, but podman sets it for
/// `create` and not for `kill`, and every verb has to find the same place.
fn default_root(root: bool, xdg: Option<PathBuf>, in_userns: impl Fn() -> bool) -> Result<PathBuf> {
    match xdg {
        Some(dir) if !root || in_userns() => absolute_root(&dir.join(super::NAME)),
        _ if root => Ok(Path::new("/run").join(super::NAME)),
        _ => Err(Error::new("no place for the state of containers")
            .message("XDG_RUNTIME_DIR is not set")
            .hint("set it, or give --root DIR")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_absolute_and_clean() {
        let cwd = std::env::current_dir().unwrap();
        assert_eq!(absolute_root(Path::new("/a/./b//../c/")).unwrap(), Path::new("/a/c"));
        assert_eq!(absolute_root(Path::new("x")).unwrap(), cwd.join("x"));
        assert_eq!(absolute_root(Path::new("/../../x")).unwrap(), Path::new("/x"));
        for bad in ["", "/", "//", "/.", "/a/..", "/../"] {
            assert!(absolute_root(Path::new(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn default_roots() {
        let (run, session) = (PathBuf::from("/run/orlop"), PathBuf::from("/run/user/7/orlop"));
        let xdg = || Some(PathBuf::from("/run/user/7"));
        // Root of the machine, whatever the session says.
        assert_eq!(default_root(true, xdg(), || false).unwrap(), run);
        assert_eq!(default_root(true, None, || false).unwrap(), run);
        // Root of a user namespace (rootless podman), and a plain user.
        assert_eq!(default_root(true, xdg(), || true).unwrap(), session);
        assert_eq!(default_root(true, None, || true).unwrap(), run);
        assert_eq!(default_root(false, xdg(), || false).unwrap(), session);
        let e = default_root(false, None, || false).unwrap_err().to_string();
        assert!(e.contains("XDG_RUNTIME_DIR") && e.contains("--root"), "{e}");
    }
}
