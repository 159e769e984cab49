//! What the command line asks of each verb, as plain data.

use std::path::PathBuf;

/// Who makes the cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// orlop writes to cgroupfs itself.
    #[default]
    Cgroupfs,
    /// systemd makes it, as that of a scope or slice.
    Systemd,
    /// No cgroup at all.
    Disabled,
}

/// `create` and `run`.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// Container id (not yet checked).
    pub id: String,
    /// `--bundle`, default the current directory.
    pub bundle: Option<PathBuf>,
    /// `--config`: a config file other than the bundle's `config.json` (crun).
    pub config: Option<PathBuf>,
    /// `--pid-file`, relative to the caller's directory.
    pub pid_file: Option<PathBuf>,
    /// `--console-socket`, likewise.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`, likewise.
    pub pidfd_socket: Option<PathBuf>,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
}

/// What `run` has beyond `create`.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// The part shared with `create`.
    pub create: CreateOptions,
    /// `--detach`.
    pub detach: bool,
    /// `--keep`.
    pub keep: bool,
    /// `--no-subreaper`.
    pub no_subreaper: bool,
}

/// `exec`.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// Container id.
    pub id: String,
    /// The command; empty with `--process`.
    pub args: Vec<String>,
    /// `--process FILE` (`-` is not special).
    pub process: Option<PathBuf>,
    /// `--cwd`.
    pub cwd: Option<String>,
    /// `--env`, `KEY=value`, added to the container's.
    pub env: Vec<String>,
    /// `--tty`.
    pub tty: bool,
    /// `--user UID[:GID]`, parsed: strict decimal, never looked up (CVE-2016-3697, CVE-2026-30892).
    pub user: Option<(u32, Option<u32>)>,
    /// `--additional-gids`.
    pub additional_gids: Vec<u32>,
    /// `--cap`: added to bounding, permitted and effective, never inheritable (CVE-2022-29162).
    pub caps: Vec<String>,
    /// `--no-new-privs`.
    pub no_new_privs: bool,
    /// `--process-label` (SELinux).
    pub process_label: Option<String>,
    /// `--apparmor`.
    pub apparmor: Option<String>,
    /// `--detach`.
    pub detach: bool,
    /// `--pid-file`.
    pub pid_file: Option<PathBuf>,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<PathBuf>,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// `--cgroup [controllers:]PATH`, as given.
    pub cgroup: Vec<String>,
    /// `--ignore-paused`.
    pub ignore_paused: bool,
}
