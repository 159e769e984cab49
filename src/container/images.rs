//! The directory that a container is saved in, and what criu is told alike on
//! both ways.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstatat};

use super::ImageOptions;
use crate::criu::{self, Flag, Number, Options, Text};
use crate::error::{Error, Result, Step};
use crate::spec::CRIU_CONFIG;
use crate::sys;
use crate::sys::path::is_type;

/// In the image, as runc and crun have it: what stdio was, by number.
const DESCRIPTORS: &std::ffi::CStr = c"descriptors.json";
/// Where an image is made without `--image-path`, as with runc.
const DEFAULT: &str = "checkpoint";
/// Options for every run of criu, if there is no `org.criu.config`.
const CONFIG: [&str; 2] = ["/etc/criu/orlop.conf", "/etc/criu/runc.conf"];
/// Debug messages: what is only there when it is too late to ask for more.
const LOG_LEVEL: i64 = 4;

/// An image's directory, and that of criu's log, open.
#[derive(Debug)]
pub struct Images {
    dir: OwnedFd,
    path: PathBuf,
    work: Option<(OwnedFd, PathBuf)>,
    log: &'static str,
}

impl Images {
    /// For a new image: makes the directories that are missing.
    ///
    /// # Errors
    /// Names the flag, the path and the errno.
    pub fn make(o: &ImageOptions) -> Result<Self> {
        for (path, flag) in [(Some(&image_path(o)), "--image-path"), (o.work_path.as_ref(), "--work-path")] {
            let Some(path) = path else { continue };
            match DirBuilder::new().mode(0o711).create(path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                made => made.step_at(format!("cannot make {flag}"), path)?,
            }
        }
        let images = Self::open_for(o, "dump.log")?;
        images.check_parent(o.parent_path.as_deref())?;
        Ok(images)
    }

    /// An image that is there.
    ///
    /// # Errors
    /// Names the flag, the path and the errno.
    pub fn open(o: &ImageOptions) -> Result<Self> {
        if let Some(work) = &o.work_path
            && let Err(e) = DirBuilder::new().mode(0o711).create(work)
            && e.kind() != ErrorKind::AlreadyExists
        {
            return Err(Error::sys("cannot make --work-path", e).path(work));
        }
        Self::open_for(o, "restore.log")
    }

    fn open_for(o: &ImageOptions, log: &'static str) -> Result<Self> {
        let directory = |path: &Path, flag: &str| {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            open(path, flags, Mode::empty()).step_at(format!("cannot open {flag}"), path)
        };
        let path = image_path(o);
        let work = o.work_path.as_ref().map(|path| directory(path, "--work-path").map(|fd| (fd, path.clone())));
        Ok(Self { dir: directory(&path, "--image-path")?, path, work: work.transpose()?, log })
    }

    /// The numbers that [`Images::options`] names.
    pub fn fds(&self) -> Vec<RawFd> {
        self.directories().map(|(fd, _)| fd.as_raw_fd()).collect()
    }

    /// In the process that becomes criu: the same directories by the same
    /// numbers, in the mount namespace that it is in now.
    ///
    /// # Errors
    /// Names the path and the errno.
    pub fn open_again(&self) -> Result<()> {
        self.directories().try_for_each(|(fd, path)| {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let again = open(path, flags, Mode::empty());
            again.and_then(|again| sys::fd::dup_onto(again, fd.as_raw_fd())).step_at("cannot open", path)
        })
    }

    fn directories(&self) -> impl Iterator<Item = (&OwnedFd, &Path)> {
        let work = self.work.iter().map(|(fd, path)| (fd, path.as_path()));
        std::iter::once((&self.dir, self.path.as_path())).chain(work)
    }

    /// criu takes it as a link in the image, and says nothing of one that leads nowhere.
    fn check_parent(&self, parent: Option<&Path>) -> Result<()> {
        let Some(parent) = parent else { return Ok(()) };
        let step = "cannot use --parent-path";
        if parent.is_absolute() {
            return Err(Error::new(step).path(parent).message("it has to be relative to the image"));
        }
        let stat = fstatat(&self.dir, parent, nix::fcntl::AtFlags::empty()).step_at(step, parent)?;
        match is_type(&stat, SFlag::S_IFDIR) {
            true => Ok(()),
            false => Err(Error::sys(step, libc::ENOTDIR).path(parent)),
        }
    }

    /// What criu is told of the image and by the flags of both verbs; `config`
    /// is the value of the annotation `org.criu.config`.
    ///
    /// # Errors
    /// For a path that is not UTF-8.
    pub fn options(&self, o: &ImageOptions, config: Option<&String>) -> Result<Options> {
        let mut options = Options::default();
        options.number(Number::ImagesDirFd, self.dir.as_raw_fd().into());
        if let Some((fd, _)) = &self.work {
            options.number(Number::WorkDirFd, fd.as_raw_fd().into());
        }
        options.text(Text::LogFile, self.log);
        options.number(Number::LogLevel, LOG_LEVEL);
        // The annotation counts also when it is empty: then there is none.
        let default = || CONFIG.into_iter().find(|path| Path::new(path).exists());
        if let Some(config) = config.map(String::as_str).or_else(default).filter(|c| !c.is_empty()) {
            if !Path::new(config).is_file() {
                return Err(Error::field(format!("annotations[{CRIU_CONFIG}]"), "not a file").path(config));
            }
            options.text(Text::ConfigFile, config);
        }
        for (flag, on) in [
            (Flag::TcpEstablished, o.tcp_established),
            (Flag::TcpSkipInFlight, o.tcp_skip_in_flight),
            (Flag::LinkRemap, o.link_remap),
            (Flag::ExtUnixSk, o.ext_unix_sk),
            (Flag::ShellJob, o.shell_job),
            (Flag::LazyPages, o.lazy_pages),
            (Flag::FileLocks, o.file_locks),
            (Flag::AutoDedup, o.auto_dedup),
            (Flag::ManageCgroups, true),
            (Flag::NotifyScripts, true),
            // With --shell-job a terminal is the caller's own, not one to be made anew.
            (Flag::OrphanPtsMaster, !o.shell_job),
        ] {
            options.flag(flag, on);
        }
        options.number(Number::ManageCgroupsMode, o.cgroups as i64);
        if o.empty_ns != 0 {
            options.number(Number::EmptyNs, o.empty_ns as i64);
        }
        if let Some(method) = o.network_lock {
            options.number(Number::NetworkLock, method as i64);
        }
        if let Some((address, port)) = &o.page_server {
            options.page_server(address, *port);
        }
        if let Some(parent) = &o.parent_path {
            let parent = parent.to_str().ok_or_else(|| Error::new("--parent-path is not UTF-8"))?;
            options.text(Text::ParentImg, parent);
        }
        Ok(options)
    }

    /// Writes down what stdio was.
    ///
    /// # Errors
    /// The errno of the write.
    pub fn write_descriptors(&self, descriptors: &[String]) -> Result<()> {
        let step = "cannot write descriptors.json";
        let text = serde_json::to_vec(descriptors).map_err(|e| Error::new(step).message(e.to_string()))?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        nix::fcntl::openat(&self.dir, DESCRIPTORS, flags, Mode::from_bits_truncate(0o600))
            .and_then(|fd| sys::fd::write_all(&fd, &text))
            .step_at(step, &self.path)
    }

    /// What stdio was, by number, as far as it is inherited.
    ///
    /// # Errors
    /// When it is no image of a container.
    pub fn descriptors(&self) -> Result<Vec<(i32, String)>> {
        let step = "cannot read descriptors.json";
        let text = sys::fd::read_at(&self.dir, DESCRIPTORS).step_at(step, &self.path).map_err(|e| {
            if e.raw_errno() == Some(libc::ENOENT) { e.hint("is it the image of a container?") } else { e }
        })?;
        let known: Vec<String> =
            serde_json::from_slice(&text).map_err(|e| Error::new(step).path(&self.path).message(e.to_string()))?;
        Ok((0..=2).zip(known).filter(|(_, key)| is_inherited(key)).collect())
    }

    /// An error of criu's, with what its log says, where that is, and what we know of it.
    pub fn explain(&self, error: Error, step: &'static str, known: Option<&str>) -> Error {
        let (fd, path) = self.work.as_ref().map_or((&self.dir, &self.path), |(fd, path)| (fd, path));
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let log = nix::fcntl::openat(fd, self.log, flags, Mode::empty()).and_then(sys::fd::read_all);
        let complaints = log.ok().and_then(|log| criu::complaints(&String::from_utf8_lossy(&log)));
        match complaints.filter(|_| criu::is_from(&error)) {
            Some(text) => {
                let log = format!("more in {}", path.join(self.log).display());
                Error::new(step).message(text).hint(known.map(|known| format!("{known}; {log}")).unwrap_or(log))
            }
            None => error.during(step),
        }
    }
}

fn image_path(o: &ImageOptions) -> PathBuf {
    o.image_path.clone().unwrap_or_else(|| DEFAULT.into())
}

/// `pipe:[123]`, `socket:[123]` or `file[1b:4c]` and nothing else: it becomes a key of criu's.
fn is_inherited(key: &str) -> bool {
    let Some((kind, number)) = key.strip_suffix(']').and_then(|key| key.split_once('[')) else { return false };
    let is = |number: &str, digit: fn(&u8) -> bool| !number.is_empty() && number.as_bytes().iter().all(digit);
    match kind {
        "pipe:" | "socket:" => is(number, u8::is_ascii_digit),
        "file" => number.split(':').count() == 2 && number.split(':').all(|n| is(n, u8::is_ascii_hexdigit)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stdio_is_inherited() {
        for good in ["pipe:[123]", "socket:[4]", "file[1b:4c]"] {
            assert!(is_inherited(good), "{good}");
        }
        for other in
            ["", "pipe:[]", "pipe:[1]:x]", "/dev/null", "pipe:[1", "tty[1:2]", "file[1]", "file[1:2:3]", "extRootNetNS"]
        {
            assert!(!is_inherited(other), "{other}");
        }
    }
}
