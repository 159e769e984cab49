//! Commands whose flags are read and which are not there yet: a caller gets a
//! plain answer instead of a complaint about its flags.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Context, Entry};
use crate::error::{Error, Result};

pub(super) const UPDATE: Entry = Entry {
    flags: update,
    run: |_, _| Err(not_there("update")),
    ..entry("update", "Change resource limits (not there yet)")
};

pub(super) const EVENTS: Entry = Entry {
    flags: events,
    run: |_, _| Err(not_there("events")),
    ..entry("events", "Print statistics (not there yet)")
};

/// podman takes `checkpoint --help` with status 0 for "this runtime can
/// checkpoint" and offers it to its users, so here help is refused as well.
pub(super) const CHECKPOINT: Entry = Entry {
    flags: checkpoint,
    run: |_, _| Err(not_there("checkpoint")),
    no_help: Some(|| not_there("checkpoint")),
    ..entry("checkpoint", "Save a running container (not there yet)")
};

pub(super) const RESTORE: Entry = Entry {
    flags: restore,
    run: |_, _| Err(not_there("restore")),
    ..entry("restore", "Restore a saved container (not there yet)")
};

const fn entry(name: &'static str, about: &'static str) -> Entry {
    Entry {
        name,
        about,
        verbatim: false,
        parsed: false,
        failure: 1,
        flags: |cmd| cmd,
        run: |_: &ArgMatches, _: &Context| -> Result<i32> { Ok(1) },
        no_help: None,
    }
}

fn not_there(name: &str) -> Error {
    Error::new(format!("`{name}` is not there yet"))
}

/// Flag, placeholder of its value ("" for a boolean), help.
type Flag = (&'static str, &'static str, &'static str);

fn with(cmd: Command, flags: &[Flag]) -> Command {
    let flags = flags.iter().map(|&(name, value, help)| {
        let arg = Arg::new(name).long(name).help(help);
        match value {
            "" => arg.action(ArgAction::SetTrue),
            value => arg.action(ArgAction::Set).value_name(value),
        }
    });
    cmd.args(flags).arg(Arg::new("id").value_name("ID").help("Container id").required(true))
}

fn update(cmd: Command) -> Command {
    with(cmd, UPDATE_FLAGS)
        .mut_arg("resources", |a| a.short('r'))
        .mut_arg("kernel-memory", |a| a.hide(true))
        .mut_arg("kernel-memory-tcp", |a| a.hide(true))
}

fn events(cmd: Command) -> Command {
    with(cmd, EVENTS_FLAGS)
}

fn checkpoint(cmd: Command) -> Command {
    lists(with(cmd, IMAGE_FLAGS))
}

fn restore(cmd: Command) -> Command {
    lists(with(cmd, &[IMAGE_FLAGS, RESTORE_FLAGS].concat()))
        .mut_arg("bundle", |a| a.short('b'))
        .mut_arg("detach", |a| a.short('d'))
}

fn lists(cmd: Command) -> Command {
    cmd.mut_arg("empty-ns", |a| a.action(ArgAction::Append))
}

const UPDATE_FLAGS: &[Flag] = &[
    ("resources", "FILE", "Read a LinuxResources object from this file, - for stdin"),
    ("blkio-weight", "N", "Block I/O weight, 10 to 1000"),
    ("cpu-period", "USEC", "CPU period in microseconds"),
    ("cpu-quota", "USEC", "CPU time per period in microseconds"),
    ("cpu-burst", "USEC", "CPU time that may be saved up, in microseconds"),
    ("cpu-share", "N", "Relative share of the CPU"),
    ("cpu-rt-period", "USEC", "Real-time period in microseconds"),
    ("cpu-rt-runtime", "USEC", "Real-time CPU time per period in microseconds"),
    ("cpuset-cpus", "LIST", "CPUs to use, as 0-3,7"),
    ("cpuset-mems", "LIST", "Memory nodes to use"),
    ("cpu-idle", "0|1", "Run only when nothing else does"),
    ("memory", "BYTES", "Memory limit, with k, m, g as units; -1 for none"),
    ("memory-reservation", "BYTES", "Memory to keep under pressure"),
    ("memory-swap", "BYTES", "Limit of memory and swap together; -1 for none"),
    ("kernel-memory", "BYTES", "Has no effect"),
    ("kernel-memory-tcp", "BYTES", "Has no effect"),
    ("pids-limit", "N", "Number of processes; -1 for no limit"),
    ("l3-cache-schema", "TEXT", "Intel RDT L3 cache schema"),
    ("mem-bw-schema", "TEXT", "Intel RDT memory bandwidth schema"),
];

const EVENTS_FLAGS: &[Flag] = &[
    ("stats", "", "Print the statistics once"),
    ("interval", "DURATION", "Time between two prints, as 5s or 1m [default: 5s]"),
];

const IMAGE_FLAGS: &[Flag] = &[
    ("image-path", "DIR", "Directory of the image"),
    ("work-path", "DIR", "Directory for criu's logs and temporary files"),
    ("parent-path", "DIR", "Directory of an earlier pre-dump, relative to the image"),
    ("leave-running", "", "Leave the container running"),
    ("tcp-established", "", "Allow open TCP connections"),
    ("tcp-skip-in-flight", "", "Skip TCP connections that are being set up"),
    ("link-remap", "", "Allow files that were removed while open"),
    ("ext-unix-sk", "", "Allow unix sockets to outside"),
    ("shell-job", "", "Allow a terminal from outside"),
    ("lazy-pages", "", "Move memory over when it is asked for"),
    ("status-fd", "N", "File descriptor to write a byte to when ready"),
    ("page-server", "ADDRESS:PORT", "Page server to send memory to"),
    ("file-locks", "", "Handle file locks"),
    ("pre-dump", "", "Save memory only and leave the container running"),
    ("manage-cgroups-mode", "MODE", "soft, full, strict or ignore"),
    ("empty-ns", "NAMESPACE", "Make this namespace without its content; may be repeated"),
    ("auto-dedup", "", "Drop memory from the parent image that is saved again"),
];

const RESTORE_FLAGS: &[Flag] = &[
    ("bundle", "DIR", "Bundle directory [default: the current directory]"),
    ("detach", "", "Return as soon as the program runs"),
    ("pid-file", "FILE", "Write the first process's pid there"),
    ("no-subreaper", "", "Do not become the reaper of the container's orphans"),
    ("no-pivot", "", "Change the root by moving a mount instead of pivot_root"),
    ("no-new-keyring", "", "Keep the caller's session keyring"),
    ("console-socket", "SOCKET", "Unix socket to send the terminal's file descriptor to"),
    ("lsm-profile", "TYPE:LABEL", "LSM profile to restore with"),
    ("lsm-mount-context", "CONTEXT", "SELinux mount context to restore with"),
    ("tcp-close", "", "Close open TCP connections"),
];
