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

/// What `checkpoint` and `restore` share.
#[derive(Debug, Clone, Default)]
pub struct ImageOptions {
    /// `--image-path`, default `checkpoint` in the caller's directory.
    pub image_path: Option<PathBuf>,
    /// `--work-path`, default the image's directory.
    pub work_path: Option<PathBuf>,
    /// `--parent-path`: an earlier image, relative to this one.
    pub parent_path: Option<PathBuf>,
    /// `--tcp-established`.
    pub tcp_established: bool,
    /// `--tcp-skip-in-flight`.
    pub tcp_skip_in_flight: bool,
    /// `--link-remap`.
    pub link_remap: bool,
    /// `--ext-unix-sk`.
    pub ext_unix_sk: bool,
    /// `--shell-job`.
    pub shell_job: bool,
    /// `--lazy-pages`.
    pub lazy_pages: bool,
    /// `--file-locks`.
    pub file_locks: bool,
    /// `--auto-dedup`.
    pub auto_dedup: bool,
    /// `--page-server`.
    pub page_server: Option<(String, u16)>,
    /// `--manage-cgroups-mode`.
    pub cgroups: CgroupsMode,
    /// `--empty-ns`: `CLONE_NEW*` flags.
    pub empty_ns: u64,
    /// `--network-lock` (crun).
    pub network_lock: Option<NetworkLock>,
}

/// How far criu goes with cgroups; the numbers are those of its `criu_cg_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupsMode {
    /// Leave them alone.
    Ignore = 0,
    /// Set properties of cgroups that were not there.
    #[default]
    Soft = 3,
    /// Set properties of all of them.
    Full = 4,
    /// Make all of them anew.
    Strict = 5,
}

/// How criu keeps packets out while it works; the numbers are those of its `criu_network_lock_method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkLock {
    /// By iptables(8).
    Iptables = 1,
    /// By nftables.
    Nftables = 2,
    /// Not at all.
    Skip = 3,
}

/// `checkpoint`.
#[derive(Debug, Clone, Default)]
pub struct CheckpointOptions {
    /// Container id.
    pub id: String,
    /// The part shared with `restore`.
    pub image: ImageOptions,
    /// `--leave-running`.
    pub leave_running: bool,
    /// `--pre-dump`.
    pub pre_dump: bool,
    /// `--status-fd`, of the caller's.
    pub status_fd: Option<i32>,
}

/// `restore`.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// What it has of `create`.
    pub create: CreateOptions,
    /// The part shared with `checkpoint`.
    pub image: ImageOptions,
    /// `--detach`.
    pub detach: bool,
    /// `--no-subreaper`.
    pub no_subreaper: bool,
    /// `--tcp-close`.
    pub tcp_close: bool,
    /// `--lsm-profile TYPE:LABEL`.
    pub lsm_profile: Option<String>,
    /// `--lsm-mount-context`.
    pub lsm_mount_context: Option<String>,
}
