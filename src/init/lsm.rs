//! AppArmor profile and SELinux label of the program: asked for here, put on
//! by its execve, and looked at once more right before that.
//!
//! Everything goes through the checked handle on the host's procfs: nothing
//! that an image or another container has at `/proc` can swallow the write
//! (CVE-2019-16884, CVE-2025-52881) or answer for the kernel.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::error::{Error, Result};
use crate::spec::plan::Process;
use crate::sys::fd::write_all;
use crate::sys::lsm;
use crate::sys::procfs::Procfs;

/// What is to be put on by the execve.
#[derive(Debug, Default)]
pub struct Labels(Vec<Label>);

/// One of them, with the file that says what the kernel is going to do.
#[derive(Debug)]
struct Label {
    module: Module,
    wanted: String,
    /// Not read yet: one read(2) is all that a seccomp filter must allow for it.
    file: OwnedFd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Module {
    AppArmor,
    SeLinux,
}

/// Has the kernel put on what the process asks for, at its execve. The host
/// side has checked that the kernel has the module and knows the label.
///
/// # Errors
/// Names the field, the file, and what the kernel said. Nothing is run with
/// another label than the one asked for.
pub fn set(process: &Process, proc: &Procfs) -> Result<Labels> {
    let mut labels = Labels::default();
    if let Some(profile) = &process.apparmor_profile {
        let command = apparmor_command(profile, process.no_new_privileges, proc)?;
        labels.0.push(Label::set(Module::AppArmor, profile, &command, proc)?);
    }
    if let Some(label) = &process.selinux_label {
        labels.0.push(Label::set(Module::SeLinux, label, label, proc)?);
    }
    Ok(labels)
}

/// The words for AppArmor. With no_new_privs a process that is confined can
/// only be confined further: then its own profile stays in force beside the new one.
fn apparmor_command(profile: &str, no_new_privileges: bool, proc: &Procfs) -> Result<String> {
    let module = Module::AppArmor;
    let confined = || lsm::apparmor_confinement(proc).map_err(|e| module.failed("cannot read our own profile", e));
    let verb = if no_new_privileges && confined()?.is_some() { "stack" } else { "exec" };
    Ok(format!("{verb} {profile}"))
}

impl Labels {
    /// Their files, which must stay open until [`Labels::check`].
    pub fn fds(&self) -> impl Iterator<Item = RawFd> {
        self.0.iter().map(|label| label.file.as_raw_fd())
    }

    /// Is what was asked for still what the execve will put on? A profile that
    /// was removed from the kernel meanwhile would leave the program unconfined,
    /// and a created container may have waited for days.
    ///
    /// # Errors
    /// Names the field and what there is instead.
    pub fn check(self) -> Result<()> {
        self.0.into_iter().try_for_each(|label| label.module.verify(&label.wanted, label.file))
    }
}

impl Label {
    fn set(module: Module, wanted: &str, command: &str, proc: &Procfs) -> Result<Self> {
        let open = |flags| module.open(proc, flags);
        let written = open(OFlag::O_WRONLY).and_then(|fd| write_all(fd, command.as_bytes()));
        written.map_err(|e| module.refused(wanted, e, proc))?;
        let step = "cannot read back what was set";
        module.verify(wanted, open(OFlag::O_RDONLY).map_err(|e| module.failed(step, e))?)?;
        let file = open(OFlag::O_RDONLY).map_err(|e| module.failed(step, e))?;
        Ok(Self { module, wanted: wanted.to_owned(), file })
    }
}

impl Module {
    fn open(self, proc: &Procfs, flags: OFlag) -> nix::Result<OwnedFd> {
        match self {
            Self::AppArmor => lsm::apparmor_attr(proc, "exec", flags),
            Self::SeLinux => proc.file(c"self/attr/exec", flags),
        }
    }

    /// An error with its field and file; the file in backticks, by which podman
    /// knows this kind of failure.
    fn error(self, step: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        let error = Error::new(step);
        match self {
            Self::AppArmor => error.in_field("process.apparmorProfile").path("`/proc/self/attr/apparmor/exec`"),
            Self::SeLinux => error.in_field("process.selinuxLabel").path("`/proc/self/attr/exec`"),
        }
    }

    fn failed(self, step: &'static str, errno: Errno) -> Error {
        self.error(step).errno(errno)
    }

    fn refused(self, wanted: &str, errno: Errno, proc: &Procfs) -> Error {
        match (self, errno) {
            (Self::AppArmor, Errno::ENOENT) => not_loaded(wanted),
            (Self::AppArmor, _) => {
                let e = self.failed("cannot set the apparmor profile", errno);
                match lsm::apparmor_confinement(proc) {
                    Ok(Some(own)) => e.hint(format!("orlop itself is confined by {own:?}")),
                    _ => e,
                }
            }
            (Self::SeLinux, _) => self.failed("cannot set the selinux label", errno),
        }
    }

    fn verify(self, wanted: &str, file: OwnedFd) -> Result<()> {
        let got = match lsm::attr_text(file) {
            Ok(text) => text,
            // Nothing is set.
            Err(Errno::EINVAL) => String::new(),
            Err(e) => return Err(self.failed("cannot read back what was set", e)),
        };
        let (good, step) = match self {
            Self::AppArmor => (confines(&got, wanted), "the apparmor profile is not in force"),
            Self::SeLinux => (got == wanted, "the selinux label is not in force"),
        };
        if good {
            return Ok(());
        }
        Err(self.error(step).message(format!("asked for {wanted:?}, the kernel has {got:?}")))
    }
}

/// The error for a profile that the kernel does not have.
pub fn not_loaded(profile: &str) -> Error {
    Module::AppArmor
        .error("cannot set the apparmor profile")
        .message(format!("profile {profile:?} is not loaded"))
        .hint("load it with `apparmor_parser -r FILE`")
}

/// Does what the kernel says (`a//&b (enforce)`) hold all of what was asked for?
fn confines(got: &str, wanted: &str) -> bool {
    let got = parts(got, true);
    parts(wanted, false).iter().all(|part| got.contains(part)) && (wanted != "unconfined" || got.len() == 1)
}

/// The profiles of a stack. `unconfined` beside others adds nothing.
fn parts(label: &str, with_mode: bool) -> Vec<String> {
    let one = |part: &str| {
        let name = match part.rsplit_once(" (") {
            Some((name, mode)) if with_mode && mode.ends_with(')') => name,
            _ => part,
        };
        // `:namespace://profile` is the long form of `:namespace:profile`.
        name.strip_prefix(':').map_or(name.to_owned(), |rest| format!(":{}", rest.replacen("://", ":", 1)))
    };
    let mut all: Vec<String> = label.trim().trim_start_matches('&').split("//&").map(one).collect();
    if all.len() > 1 {
        all.retain(|part| part != "unconfined");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_compared_with_what_was_asked_for() {
        for (got, wanted) in [
            ("a (enforce)", "a"),
            ("a (complain)", "a"),
            ("a//&b (enforce)", "b//&a"),
            ("a//&b (mixed)", "a//&b"),
            ("a (enforce)//&b (complain)", "a//&b"),
            ("a//&own (enforce)", "a"),
            ("a//&unconfined (enforce)", "a//&unconfined"),
            ("a (enforce)", "&a"),
            ("unconfined", "unconfined"),
            (":ns://a (enforce)", ":ns:a"),
            ("/usr/bin/a (b) (enforce)", "/usr/bin/a (b)"),
            ("a//child (enforce)", "a//child"),
        ] {
            assert!(confines(got, wanted), "{got} {wanted}");
        }
        for (got, wanted) in [
            ("unconfined", "a"),
            ("", "a"),
            ("", "unconfined"),
            ("a (enforce)", "b"),
            ("a (enforce)", "unconfined"),
            ("a (enforce)", "a//&b"),
            ("a//null-b (complain)", "a"),
            ("ab (enforce)", "a"),
            (":ns://a (enforce)", "a"),
        ] {
            assert!(!confines(got, wanted), "{got} {wanted}");
        }
    }
}
