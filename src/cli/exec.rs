//! `orlop exec [flags] ID COMMAND [ARGS]...`

use std::path::PathBuf;

use super::values::{any_path, given, given_text};
use super::{Context, Verb, values};
use crate::container::{self, ExecOptions};
use crate::error::{Error, Result};
use crate::log;

#[derive(Debug, clap::Args)]
pub(super) struct Exec {
    /// Read the whole process from this JSON file (an OCI process object)
    #[arg(short, long, value_name = "FILE", value_parser = any_path())]
    pub process: Option<PathBuf>,
    /// Working directory in the container [default: the container's]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Set a variable, besides the container's; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// Allocate a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Numeric user and group in the container [default: the container's]
    #[arg(short, long, value_name = "UID[:GID]", value_parser = values::user)]
    pub user: Option<(u32, Option<u32>)>,
    /// Numeric supplementary group; may be repeated
    #[arg(short = 'g', long, value_name = "GID", value_parser = values::id)]
    pub additional_gids: Vec<u32>,
    /// Add a capability, such as CAP_NET_RAW; may be repeated
    #[arg(short, long, value_name = "CAP")]
    pub cap: Vec<String>,
    /// Set no_new_privs
    #[arg(long)]
    pub no_new_privs: bool,
    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Return as soon as the program runs
    #[arg(short, long)]
    pub detach: bool,
    /// Write the process's pid there, digits only
    #[arg(long, value_name = "FILE", value_parser = any_path())]
    pub pid_file: Option<PathBuf>,
    /// Unix socket to send the terminal's file descriptor to
    #[arg(long, value_name = "SOCKET", value_parser = any_path())]
    pub console_socket: Option<PathBuf>,
    /// Unix socket to send a pidfd of the process to
    #[arg(long, value_name = "SOCKET", value_parser = any_path())]
    pub pidfd_socket: Option<PathBuf>,
    /// Hand this many file descriptors from 3 on to the process
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,
    /// Cgroup to run in, below the container's, on cgroup v1 by controllers; may be repeated
    #[arg(long, value_name = "[CONTROLLERS:]PATH")]
    pub cgroup: Vec<String>,
    /// Go ahead in a paused container: the process starts when it is resumed
    #[arg(long)]
    pub ignore_paused: bool,
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Program and its arguments; everything after the id is left as it is
    #[arg(value_name = "COMMAND")]
    pub args: Vec<String>,
}

impl Exec {
    pub(super) fn options(mut self) -> Result<ExecOptions> {
        let process = given(self.process);
        if process.is_none() && self.args.is_empty() {
            return Err(Error::new("exec: no command given").hint("give one after the container id, or --process FILE"));
        }
        if process.is_some() && !self.args.is_empty() {
            // runc and crun let the file win too.
            log::warn("exec: the command is ignored because of --process");
            self.args.clear();
        }
        Ok(ExecOptions {
            id: self.id,
            args: self.args,
            process,
            cwd: given_text(self.cwd),
            env: self.env,
            tty: self.tty,
            user: self.user,
            additional_gids: self.additional_gids,
            caps: self.cap,
            no_new_privs: self.no_new_privs,
            process_label: given_text(self.process_label),
            apparmor: given_text(self.apparmor),
            detach: self.detach,
            pid_file: given(self.pid_file),
            console_socket: given(self.console_socket),
            pidfd_socket: given(self.pidfd_socket),
            preserve_fds: self.preserve_fds,
            cgroup: self.cgroup,
            ignore_paused: self.ignore_paused,
        })
    }
}

impl Verb for Exec {
    const NAME: &'static str = "exec";
    const ENTERS: bool = true;
    const VERBATIM: bool = true;
    // 1 would look like the program's own status.
    const FAILURE: i32 = 255;

    fn run(self, ctx: &Context) -> Result<i32> {
        container::exec(&ctx.runtime()?, &self.options()?)
    }
}
