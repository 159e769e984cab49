//! `orlop checkpoint [flags] ID`

use std::path::PathBuf;

use super::values::{any_path, given};
use super::{Context, Verb};
use crate::container::{self, CgroupsMode, CheckpointOptions, ImageOptions, NetworkLock};
use crate::criu;
use crate::error::{Error, Result};

/// podman takes `checkpoint --help` with status 0 for "this runtime can
/// checkpoint" and offers it to its users: so it fails where there is no criu.
pub(super) fn unable(ctx: &Context) -> Option<Error> {
    criu::find(ctx.criu()).err()
}

// No doc comment: clap would take it for the text of whoever includes these.
// What `checkpoint` and `restore` share.
#[derive(Debug, clap::Args)]
pub(super) struct Image {
    /// Directory of the image [default: checkpoint]
    #[arg(long, value_name = "DIR", value_parser = any_path())]
    pub image_path: Option<PathBuf>,
    /// Directory for criu's logs and temporary files [default: that of the image]
    #[arg(long, value_name = "DIR", value_parser = any_path())]
    pub work_path: Option<PathBuf>,
    /// Directory of an earlier pre-dump, relative to the image
    #[arg(long, value_name = "DIR", value_parser = any_path())]
    pub parent_path: Option<PathBuf>,
    /// Allow open TCP connections
    #[arg(long)]
    pub tcp_established: bool,
    /// Skip TCP connections that are being set up
    #[arg(long)]
    pub tcp_skip_in_flight: bool,
    /// Allow files that were removed while open, by links to them
    #[arg(long)]
    pub link_remap: bool,
    /// Allow unix sockets to outside
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// Allow a terminal from outside
    #[arg(long)]
    pub shell_job: bool,
    /// Move memory over when it is asked for
    #[arg(long)]
    pub lazy_pages: bool,
    /// Page server to send memory to, or to ask for it
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = page_server)]
    pub page_server: Option<(String, u16)>,
    /// Handle file locks
    #[arg(long)]
    pub file_locks: bool,
    /// What criu does with cgroups: soft, full, strict or ignore [default: soft]
    #[arg(long, value_name = "MODE", value_parser = cgroups_mode)]
    pub manage_cgroups_mode: Option<CgroupsMode>,
    /// Make this namespace (network) without its content; may be repeated
    #[arg(long, value_name = "NAMESPACE", value_parser = empty_namespace)]
    pub empty_ns: Vec<u64>,
    /// Drop memory from the parent image that is saved again
    #[arg(long)]
    pub auto_dedup: bool,
    /// How packets are kept out meanwhile: iptables, nftables or skip
    #[arg(long, value_name = "METHOD", value_parser = network_lock)]
    pub network_lock: Option<NetworkLock>,
}

impl Image {
    pub(super) fn options(self) -> ImageOptions {
        ImageOptions {
            image_path: given(self.image_path),
            work_path: given(self.work_path),
            parent_path: given(self.parent_path),
            tcp_established: self.tcp_established,
            tcp_skip_in_flight: self.tcp_skip_in_flight,
            link_remap: self.link_remap,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            lazy_pages: self.lazy_pages,
            file_locks: self.file_locks,
            auto_dedup: self.auto_dedup,
            page_server: self.page_server,
            cgroups: self.manage_cgroups_mode.unwrap_or_default(),
            empty_ns: self.empty_ns.iter().fold(0, |all, flag| all | flag),
            network_lock: self.network_lock,
        }
    }
}

/// A host, perhaps in brackets, and a port.
fn page_server(text: &str) -> Result<(String, u16), String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parsed {
        Some((host, port @ 1..)) if !host.is_empty() => {
            Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
        }
        _ => Err("it has to be ADDRESS:PORT".to_owned()),
    }
}

fn cgroups_mode(text: &str) -> Result<CgroupsMode, String> {
    match text {
        "" | "soft" => Ok(CgroupsMode::Soft),
        "full" => Ok(CgroupsMode::Full),
        "strict" => Ok(CgroupsMode::Strict),
        "ignore" => Ok(CgroupsMode::Ignore),
        _ => Err("it has to be soft, full, strict or ignore".to_owned()),
    }
}

fn empty_namespace(text: &str) -> Result<u64, String> {
    match text {
        "network" => Ok(libc::CLONE_NEWNET as u64),
        _ => Err("it has to be network, criu makes no other one empty".to_owned()),
    }
}

fn network_lock(text: &str) -> Result<NetworkLock, String> {
    match text {
        "iptables" => Ok(NetworkLock::Iptables),
        "nftables" => Ok(NetworkLock::Nftables),
        "skip" => Ok(NetworkLock::Skip),
        _ => Err("it has to be iptables, nftables or skip".to_owned()),
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Checkpoint {
    #[command(flatten)]
    pub image: Image,
    /// Leave the container running
    #[arg(long)]
    pub leave_running: bool,
    /// Save memory only and leave the container running
    #[arg(long)]
    pub pre_dump: bool,
    /// File descriptor to write a byte to when pages can be asked for
    #[arg(long, value_name = "N")]
    pub status_fd: Option<i32>,
    /// Container id
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Verb for Checkpoint {
    const NAME: &'static str = "checkpoint";

    fn run(self, ctx: &Context) -> Result<i32> {
        let Self { image, leave_running, pre_dump, status_fd, id } = self;
        // As in Go, where -1 is its default.
        let status_fd = status_fd.filter(|fd| *fd != -1);
        let options = CheckpointOptions { id, image: image.options(), leave_running, pre_dump, status_fd };
        container::checkpoint(&ctx.runtime()?, &options).map(|()| 0)
    }
}
