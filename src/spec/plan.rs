//! The `Plan`: a config resolved into exactly what the kernel is told.
//!
//! Immutable and complete: option strings are flags, names are numbers, paths
//! are absolute where they are the host's and rooted where they are the
//! container's. Building one makes no system call, so every fault of a config
//! is found before anything is touched.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;

use crate::seccomp::Filter;

/// Everything `create` needs to know about a container.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// `ociVersion` as the config gives it.
    pub oci_version: String,
    /// The bundle directory, absolute.
    pub bundle: PathBuf,
    /// `root.path`, absolute (joined with the bundle, not resolved).
    pub rootfs: PathBuf,
    /// `root.readonly`.
    pub root_readonly: bool,
    /// `linux.rootfsPropagation`.
    pub root_propagation: Option<Propagation>,
    /// `hostname`; `None` when unset or empty.
    pub hostname: Option<String>,
    /// `domainname`; `None` when unset or empty.
    pub domainname: Option<String>,
    /// `linux.namespaces`.
    pub namespaces: Namespaces,
    /// `linux.uidMappings`, `linux.gidMappings`; empty without a user namespace.
    pub ids: IdMaps,
    /// `linux.timeOffsets`.
    pub time_offsets: Vec<TimeOffset>,
    /// `linux.netDevices`.
    pub net_devices: Vec<NetDevice>,
    /// `mounts`, in the order of the config.
    pub mounts: Vec<Mount>,
    /// The default devices and `linux.devices`, one per path (the config's wins).
    pub devices: Vec<Device>,
    /// False when the config binds something over `/dev`: then no device,
    /// link or ptmx is made there (engine-contract §2.16).
    pub populate_dev: bool,
    /// `linux.maskedPaths`.
    pub masked_paths: Vec<String>,
    /// `linux.readonlyPaths`.
    pub readonly_paths: Vec<String>,
    /// `linux.sysctl`: path below `/proc/sys` (with `/`) and value.
    pub sysctl: Vec<Sysctl>,
    /// `linux.personality`: the value for personality(2).
    pub personality: Option<u64>,
    /// `linux.memoryPolicy`.
    pub memory_policy: Option<MemoryPolicy>,
    /// `process`. `None` lets a container be created but never started.
    pub process: Option<Process>,
    /// `hooks`.
    pub hooks: Hooks,
    /// `linux.cgroupsPath`, `linux.resources`.
    pub cgroup: CgroupPlan,
    /// `linux.intelRdt`.
    pub rdt: Option<RdtPlan>,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `linux.seccomp`, compiled.
    pub seccomp: Option<Filter>,
    /// `linux.mountLabel`.
    pub mount_label: Option<String>,
    /// Things worth a warning (unknown capabilities, say); never printed by
    /// default because engines read stderr as part of JSON (§1.1).
    pub warnings: Vec<String>,
}

/// A kind of namespace, as the config names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamespaceKind {
    /// `user`
    User,
    /// `cgroup`
    Cgroup,
    /// `ipc`
    Ipc,
    /// `uts`
    Uts,
    /// `network`
    Network,
    /// `pid`
    Pid,
    /// `time`
    Time,
    /// `mount`
    Mount,
}

impl NamespaceKind {
    /// All kinds, in the order they are joined (user first, mount last).
    pub const ALL: [Self; 8] =
        [Self::User, Self::Cgroup, Self::Ipc, Self::Uts, Self::Network, Self::Pid, Self::Time, Self::Mount];

    /// The `CLONE_NEW*` flag.
    pub const fn clone_flag(self) -> u64 {
        (match self {
            Self::User => libc::CLONE_NEWUSER,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Network => libc::CLONE_NEWNET,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Time => libc::CLONE_NEWTIME,
            Self::Mount => libc::CLONE_NEWNS,
        }) as u64
    }

    /// The name in `config.json`.
    pub const fn spec_name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Network => "network",
            Self::Pid => "pid",
            Self::Time => "time",
            Self::Mount => "mount",
        }
    }

    /// The name below `/proc/PID/ns`.
    pub const fn proc_name(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            other => other.spec_name(),
        }
    }
}

/// Which namespaces are made and which are joined; the rest are the caller's.
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    /// `CLONE_NEW*` flags of those to be made.
    pub new: u64,
    /// Those to be joined, with their index in `linux.namespaces` and path.
    pub join: Vec<(usize, NamespaceKind, PathBuf)>,
}

impl Namespaces {
    /// Is a namespace of this kind to be made?
    pub fn is_new(&self, kind: NamespaceKind) -> bool {
        self.new & kind.clone_flag() != 0
    }

    /// Is a namespace of this kind to be joined by path?
    pub fn is_joined(&self, kind: NamespaceKind) -> bool {
        self.join.iter().any(|(_, k, _)| *k == kind)
    }

    /// Does the container have one of this kind that may differ from the caller's?
    pub fn has(&self, kind: NamespaceKind) -> bool {
        self.is_new(kind) || self.is_joined(kind)
    }
}

/// The id maps of a user namespace (user_namespaces(7)).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IdMaps {
    /// Users.
    pub uid: Vec<IdRange>,
    /// Groups.
    pub gid: Vec<IdRange>,
}

/// One line of `/proc/PID/uid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IdRange {
    /// The first id in the namespace.
    pub container: u32,
    /// The first id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

impl IdRange {
    /// What an id of the namespace is outside, if the range has it.
    fn outside(&self, id: u32) -> Option<u32> {
        id.checked_sub(self.container).filter(|n| *n < self.size).map(|n| self.host + n)
    }
}

impl IdMaps {
    /// Is there a user namespace with maps of its own?
    pub fn is_empty(&self) -> bool {
        self.uid.is_empty() && self.gid.is_empty()
    }

    /// What an id of the container is on the host; itself without a map, `None` outside of it.
    pub fn on_host(map: &[IdRange], id: u32) -> Option<u32> {
        if map.is_empty() { Some(id) } else { map.iter().find_map(|range| range.outside(id)) }
    }

    /// The ids that set the container up: 0, or where that is not mapped the first that is.
    pub fn root(&self) -> (u32, u32) {
        let root = |map: &[IdRange]| match Self::on_host(map, 0) {
            Some(_) => 0,
            None => map.first().map_or(0, |range| range.container),
        };
        (root(&self.uid), root(&self.gid))
    }

    /// A map as the kernel takes it, in one write.
    pub fn text(map: &[IdRange]) -> String {
        map.iter().map(|r| format!("{} {} {}\n", r.container, r.host, r.size)).collect()
    }
}

/// One line for `/proc/self/timens_offsets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    /// Seconds.
    pub secs: i64,
    /// Nanoseconds, 0…999,999,999.
    pub nanos: u32,
}

/// A network device of the host that becomes the container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// JSON path, for messages.
    pub field: String,
    /// Its name on the host.
    pub host: String,
    /// Its name in the container, perhaps with a `%d` that the kernel makes a number of; as on the host when unset.
    pub name: Option<String>,
}

impl NetDevice {
    /// Its name in the container.
    pub fn inside(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.host)
    }

    /// Does the kernel find a number for its name?
    pub fn is_template(&self) -> bool {
        self.inside().contains('%')
    }

    /// JSON path of what says its name in the container.
    pub fn name_field(&self) -> String {
        if self.name.is_some() { format!("{}.name", self.field) } else { self.field.clone() }
    }
}

/// A propagation change: `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`, and how deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// One of the four `MS_*` types, as mount_setattr(2) takes them.
    pub kind: u64,
    /// Applied to the whole tree (the `r…` forms).
    pub recursive: bool,
}

/// Changes of mount attributes: `MOUNT_ATTR_*` to set and to clear (mount_setattr(2)).
///
/// When an access-time mode is set, `clear` contains `MOUNT_ATTR__ATIME`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
}

impl MountAttr {
    /// Nothing to change.
    pub fn is_empty(&self) -> bool {
        self.set == 0 && self.clear == 0
    }
}

/// One entry of `mounts`.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Index in `mounts`, for messages.
    pub index: usize,
    /// `destination`, as given but with a leading `/`.
    pub destination: String,
    /// What is mounted.
    pub kind: MountKind,
    /// Attributes of this mount alone (`ro`, `nosuid`, …).
    pub attr: MountAttr,
    /// Attributes of the whole tree (`rro`, `rnosuid`, …).
    pub recursive_attr: MountAttr,
    /// `idmap`, `ridmap`.
    pub id_map: Option<IdMount>,
    /// Propagation options in their order.
    pub propagation: Vec<Propagation>,
    /// `tmpcopyup`.
    pub tmpcopyup: bool,
    /// `copy-symlink`.
    pub copy_symlink: bool,
    /// `src-nofollow`.
    pub src_nofollow: bool,
    /// `dest-nofollow`.
    pub dest_nofollow: bool,
}

/// How the owners of files on a mount are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMount {
    /// From ids on the filesystem (`container`) to ids shown (`host`); `None`: as the container's own.
    pub maps: Option<IdMaps>,
    /// `ridmap`: all mounts of the tree.
    pub recursive: bool,
}

/// What an entry of `mounts` mounts.
#[derive(Debug, Clone)]
pub enum MountKind {
    /// `bind`/`rbind`. The source is absolute (relative ones were joined with the bundle).
    Bind {
        /// Host path.
        source: PathBuf,
        /// `rbind`.
        recursive: bool,
    },
    /// A new filesystem by fsopen(2).
    Fs {
        /// Filesystem type.
        fstype: CString,
        /// `source`, as the kernel's `source` parameter.
        source: Option<CString>,
        /// Superblock flags by their fsconfig(2) names: `ro sync dirsync mand lazytime` and their opposites.
        flags: Vec<CString>,
        /// Filesystem parameters: key, and value if it has one.
        data: Vec<(CString, Option<CString>)>,
    },
    /// Type `cgroup`: the cgroup2 hierarchy as the container sees it.
    Cgroup,
    /// `remount`: change the attributes of what is already mounted there.
    Remount,
}

/// The type of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceType {
    /// `c` or `u`
    Char,
    /// `b`
    Block,
    /// `p`
    Fifo,
}

/// One device node to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Index in `linux.devices`; `None` for a default device.
    pub index: Option<usize>,
    /// Absolute path in the container.
    pub path: String,
    /// Type.
    pub kind: DeviceType,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// One `linux.sysctl` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// The key as given, for messages.
    pub key: String,
    /// Path below `/proc/sys`.
    pub path: String,
    /// Value.
    pub value: String,
}

/// `linux.memoryPolicy`, ready for set_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*` with `MPOL_F_*` flags or-ed in.
    pub mode: i32,
    /// Node mask, lowest node first, 64 a word.
    pub nodes: Vec<u64>,
}

/// `process`.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Arguments; at least one.
    pub args: Vec<CString>,
    /// Environment; the last of equal keys has won. `HOME` is filled in by init.
    pub env: Vec<CString>,
    /// Working directory, absolute.
    pub cwd: String,
    /// `terminal`.
    pub terminal: bool,
    /// `consoleSize`: rows (height), columns (width); only with `terminal` and both non-zero.
    pub console_size: Option<(u16, u16)>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// `additionalGids`.
    pub additional_gids: Vec<u32>,
    /// `run.oci.keep_original_groups`: leave the supplementary groups alone.
    pub keep_groups: bool,
    /// Umask; 0o022 unless given.
    pub umask: u32,
    /// Capability sets; `None` leaves them as they are.
    pub capabilities: Option<Capabilities>,
    /// Resource limits: `RLIMIT_*`, soft, hard.
    pub rlimits: Vec<Rlimit>,
    /// `noNewPrivileges`.
    pub no_new_privileges: bool,
    /// `oomScoreAdj`.
    pub oom_score_adj: Option<i32>,
    /// `scheduler`.
    pub scheduler: Option<Scheduler>,
    /// `ioPriority`: the value for ioprio_set(2).
    pub io_priority: Option<i32>,
    /// `execCPUAffinity.initial` and `.final`: CPU masks, lowest CPU first, 64 a word.
    pub affinity_initial: Option<Vec<u64>>,
    /// See [`Process::affinity_initial`].
    pub affinity_final: Option<Vec<u64>>,
    /// `apparmorProfile`, `None` when unset or empty.
    pub apparmor_profile: Option<String>,
    /// `selinuxLabel`, `None` when unset or empty.
    pub selinux_label: Option<String>,
}

/// The five capability sets as bit masks (bit n = capability n).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Bounding set.
    pub bounding: u64,
    /// Effective set.
    pub effective: u64,
    /// Inheritable set.
    pub inheritable: u64,
    /// Permitted set.
    pub permitted: u64,
    /// Ambient set.
    pub ambient: u64,
}

/// One resource limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// Name as in the config, for messages.
    pub name: String,
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// The arguments of sched_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Real-time priority.
    pub priority: u32,
    /// Deadline runtime, ns.
    pub runtime: u64,
    /// Deadline, ns.
    pub deadline: u64,
    /// Deadline period, ns.
    pub period: u64,
}

/// The six lists of hooks.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// Deprecated; create, runtime namespaces, before pivot.
    pub prestart: Vec<Hook>,
    /// create, runtime namespaces, before pivot.
    pub create_runtime: Vec<Hook>,
    /// create, container namespaces, before pivot; path resolved in the runtime's.
    pub create_container: Vec<Hook>,
    /// start, container namespaces, before the user's process.
    pub start_container: Vec<Hook>,
    /// start, runtime namespaces, after the user's process has started.
    pub poststart: Vec<Hook>,
    /// delete, runtime namespaces, after the resources are gone.
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hook {
    /// JSON path in the config: `hooks.prestart[0]`.
    pub field: String,
    /// Absolute path.
    pub path: PathBuf,
    /// argv, args[0] included; `[path]` when the config has none.
    pub args: Vec<String>,
    /// Environment: exactly this; `None` = the runtime's own.
    pub env: Option<Vec<String>>,
    /// Time limit.
    pub timeout: Option<Duration>,
}

/// Where the container's cgroup is and what is set there.
#[derive(Debug, Clone, Default)]
pub struct CgroupPlan {
    /// `linux.cgroupsPath`, `None` when unset or empty.
    pub path: Option<String>,
    /// Files to be written, in order.
    pub settings: Vec<CgroupSetting>,
    /// `linux.resources.devices`, in order; `None` when the list is absent or
    /// empty: the default devices are allowed all the same, and no others.
    pub devices: Option<Vec<DeviceRule>>,
    /// The user the cgroup is handed to, as the host numbers it; `None` where
    /// it is not to be handed over.
    pub owner: Option<u32>,
    /// `memory.checkBeforeUpdate`: no memory or swap limit below what is in use.
    pub check_usage: bool,
}

/// The container's group in the resctrl filesystem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RdtPlan {
    /// `closID`, `/` for the default group; `None` (a group named after the container) when unset or empty.
    pub clos: Option<String>,
    /// Lines for its schemata, in the order in which they are written.
    pub lines: Vec<RdtLine>,
    /// `enableMonitoring`: with a monitoring group of its own.
    pub monitoring: bool,
}

/// One line for a schemata file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdtLine {
    /// JSON path or flag, for messages.
    pub field: String,
    /// `L3:0=7f0;1=1f`, without a newline.
    pub text: String,
    /// A group that is there already must agree with it.
    pub must_match: bool,
}

/// One value for one file of the container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupSetting {
    /// JSON path, for messages.
    pub field: String,
    /// Controller that must be there: `memory`, `pids`, `cpu` …; empty for core files.
    pub controller: String,
    /// File name: `memory.max`.
    pub file: String,
    /// Value.
    pub value: String,
}

/// One device rule, `None` = any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// `c`, `b`, or `None` for `a`.
    pub kind: Option<DeviceType>,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// Access: r = 1, w = 2, m = 4.
    pub access: u8,
}
