//! Commands whose flags are read and which are not there yet: a caller gets a
//! plain answer instead of a complaint about its flags.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Context, Entry};
use crate::error::{Error, Result};

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
        enters: false,
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
