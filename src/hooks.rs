//! Runs hooks: state on stdin, output kept for the error, a time limit.
//!
//! Used on both sides: prestart, createRuntime, poststart and poststop by the
//! host side, createContainer and startContainer by init (runtime-spec
//! config.md, "POSIX-platform Hooks"; engine-contract §2.11).

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use serde::Serialize;

use crate::error::{Error, Result, Step};
use crate::spec::plan::Hook;
use crate::sys;
use crate::sys::process::{Exit, Fork};

/// How much of a hook's last output goes into an error.
const OUTPUT_TAIL: usize = 2048;

/// The state a hook reads on stdin.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookState<'a> {
    /// `ociVersion` of the config.
    pub oci_version: &'a str,
    /// Container id.
    pub id: &'a str,
    /// `created`, `running`, `stopped`.
    pub status: &'a str,
    /// As seen by the hook; left out when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Bundle directory.
    pub bundle: &'a Path,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
}

/// Runs hooks in order; stops at the first that fails.
///
/// `cwd` is where they run; `default_env` is their environment when the config
/// gives none (`None` = the runtime's own). When `interrupt` becomes readable
/// the hook is killed and fails.
///
/// # Errors
/// Names the hook, its path, how it ended and the last of its output.
pub fn run_all(
    hooks: &[Hook],
    state: &HookState<'_>,
    cwd: Option<&Path>,
    default_env: Option<&[CString]>,
    interrupt: Option<BorrowedFd<'_>>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state =
        serde_json::to_vec(state).map_err(|e| Error::new("cannot write the state for hooks").message(e.to_string()))?;
    hooks.iter().try_for_each(|hook| run(hook, &state, cwd, default_env, interrupt))
}

fn run(
    hook: &Hook,
    state: &[u8],
    cwd: Option<&Path>,
    default_env: Option<&[CString]>,
    interrupt: Option<BorrowedFd<'_>>,
) -> Result<()> {
    execute(hook, state, cwd, default_env, interrupt)
        .map_err(|e| e.during("hook failed").in_field(&hook.field).path(&hook.path))
}

/// Runs a program of the host's as a hook is run, with `stdin` to read.
///
/// # Errors
/// How it ended and the last of its output.
pub fn execute(
    program: &Hook,
    stdin: &[u8],
    cwd: Option<&Path>,
    default_env: Option<&[CString]>,
    interrupt: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let argv = Argv::new(program, cwd, default_env)?;
    let step = "cannot make a pipe";
    let (stdin_read, stdin_write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).step(step)?;
    let (out_read, out_write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).step(step)?;
    let pidfd = match sys::process::fork(0, None).step("cannot fork")? {
        Fork::Child => argv.become_hook(&stdin_read, &out_write),
        Fork::Parent { pidfd, .. } => pidfd,
    };
    drop((stdin_read, out_write));
    let deadline = program.timeout.map(|t| Instant::now() + t);
    let mut watch = Watch { pidfd, output: out_read, tail: Vec::new(), deadline, interrupt };
    watch.feed(stdin_write, stdin).and_then(|end| watch.verdict(end))
}

/// Everything the child needs, made before the fork.
struct Argv {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: Option<PathBuf>,
}

impl Argv {
    fn new(hook: &Hook, cwd: Option<&Path>, default_env: Option<&[CString]>) -> Result<Self> {
        let c = |s: Vec<u8>| CString::new(s).map_err(|_| Error::new("").message("NUL byte in a string"));
        let env = match (&hook.env, default_env) {
            (Some(env), _) => env.iter().map(|e| c(e.clone().into_bytes())).collect::<Result<_>>()?,
            (None, Some(env)) => env.to_vec(),
            (None, None) => std::env::vars_os().map(|(k, v)| c(join_env(k, v))).collect::<Result<_>>()?,
        };
        Ok(Self {
            path: c(hook.path.as_os_str().as_bytes().to_vec())?,
            args: hook.args.iter().map(|a| c(a.clone().into_bytes())).collect::<Result<_>>()?,
            env,
            cwd: cwd.map(Path::to_owned),
        })
    }

    fn become_hook(&self, stdin: &OwnedFd, output: &OwnedFd) -> ! {
        let errno = self.try_become(stdin, output);
        // The output pipe is the only way to tell; its reader puts this in the error.
        let _ = sys::fd::write_all(
            output,
            format!("cannot execute: {}", crate::error::errno_text(errno as i32)).as_bytes(),
        );
        sys::process::exit_now(127)
    }

    fn try_become(&self, stdin: &OwnedFd, output: &OwnedFd) -> Errno {
        let setup = || -> nix::Result<()> {
            sys::process::new_session();
            // A hook must not outlive a runtime that was killed while waiting for it.
            sys::ids::set_parent_death_signal(Signal::SIGKILL as i32)?;
            sys::fd::dup_onto(stdin, 0)?;
            for number in [1, 2] {
                sys::fd::dup_onto(output, number)?;
            }
            sys::fd::cloexec_range(3, u32::MAX)?;
            sys::process::default_sigpipe();
            sys::process::set_signal_mask(&SigSet::empty())?;
            self.cwd.as_deref().map_or(Ok(()), nix::unistd::chdir)
        };
        match setup() {
            Ok(()) => sys::process::exec(&self.path, &self.args, &self.env),
            Err(e) => e,
        }
    }
}

fn join_env(key: OsString, value: OsString) -> Vec<u8> {
    let mut entry = key.into_vec();
    entry.push(b'=');
    entry.extend(value.into_vec());
    entry
}

/// A running hook.
struct Watch<'a> {
    pidfd: OwnedFd,
    output: OwnedFd,
    tail: Vec<u8>,
    deadline: Option<Instant>,
    interrupt: Option<BorrowedFd<'a>>,
}

/// How a hook came to its end.
enum End {
    Exited(Exit),
    TimedOut,
    Interrupted,
}

impl Watch<'_> {
    /// Writes the state, collects output, waits for the end.
    fn feed(&mut self, stdin: OwnedFd, state: &[u8]) -> Result<End> {
        let step = "cannot watch the hook";
        let flags = || nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
        // Each end of a pipe has flags of its own: the hook's ends stay blocking.
        nix::fcntl::fcntl(&stdin, flags()).step(step)?;
        nix::fcntl::fcntl(&self.output, flags()).step(step)?;
        let mut stdin = Some(stdin);
        let mut rest = state;
        loop {
            let ready = self.wait(stdin.as_ref().map(AsFd::as_fd)).step(step)?;
            let Some(ready) = ready else { return self.kill().map(|()| End::TimedOut) };
            self.drain();
            if ready.exited {
                self.drain();
                return sys::process::wait(&self.pidfd).map(End::Exited).step(step);
            }
            if ready.interrupted {
                return self.kill().map(|()| End::Interrupted);
            }
            if let (true, Some(fd)) = (ready.writable, &stdin) {
                match nix::unistd::write(fd, rest) {
                    Ok(n) if n < rest.len() => rest = &rest[n..],
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    // Done, or the hook does not read its stdin: both are fine.
                    _ => stdin = None,
                }
            }
        }
    }

    fn wait(&self, stdin: Option<BorrowedFd<'_>>) -> nix::Result<Option<Ready>> {
        let mut fds = vec![
            PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.output.as_fd(), PollFlags::POLLIN),
        ];
        // A negative fd would do as well, but there is no safe way to say it.
        fds.push(PollFd::new(self.interrupt.unwrap_or(self.pidfd.as_fd()), PollFlags::POLLIN));
        if let Some(stdin) = stdin {
            fds.push(PollFd::new(stdin, PollFlags::POLLOUT));
        }
        let timeout = match self.deadline {
            None => PollTimeout::NONE,
            Some(at) => poll_timeout(at.saturating_duration_since(Instant::now())),
        };
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
        let any = |i: usize| fds.get(i).is_some_and(|fd| fd.any().unwrap_or(false));
        let hung_up = |i: usize| fds.get(i).and_then(PollFd::revents).is_some_and(|r| r == PollFlags::POLLHUP);
        let (exited, interrupted, writable) = (any(0), self.interrupt.is_some() && any(2), any(3));
        if hung_up(1) && !exited {
            // Its output is closed but it runs on: do not spin on the hang-up.
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Some(Ready { exited, interrupted, writable }))
    }

    fn drain(&mut self) {
        let mut buf = [0; 1024];
        while let Ok(n @ 1..) = nix::unistd::read(&self.output, &mut buf) {
            self.tail.extend_from_slice(&buf[..n]);
            let extra = self.tail.len().saturating_sub(OUTPUT_TAIL);
            self.tail.drain(..extra);
        }
    }

    fn kill(&mut self) -> Result<()> {
        let _ = sys::process::pidfd_kill(&self.pidfd, Signal::SIGKILL as i32);
        sys::process::wait(&self.pidfd).step("cannot wait for the hook")?;
        self.drain();
        Ok(())
    }

    fn verdict(&self, end: End) -> Result<()> {
        let how = match end {
            End::Exited(Exit::Code(0)) => return Ok(()),
            End::Exited(Exit::Code(code)) => format!("exit status {code}"),
            End::Exited(Exit::Signal(signal)) => format!("killed by signal {signal}"),
            End::TimedOut => "timed out".to_owned(),
            End::Interrupted => "interrupted by a signal".to_owned(),
        };
        let output = String::from_utf8_lossy(&self.tail);
        let output = output.trim();
        Err(Error::new("").message(if output.is_empty() { how } else { format!("{how}: {output}") }))
    }
}

struct Ready {
    exited: bool,
    interrupted: bool,
    writable: bool,
}

/// A duration as poll(2) takes it: whole milliseconds, rounded up.
fn poll_timeout(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Option<Duration>) -> Hook {
        Hook {
            field: "hooks.prestart[0]".into(),
            path: "/bin/sh".into(),
            args: ["sh", "-c", script].map(String::from).to_vec(),
            env: Some(vec!["A=1".into(), "PATH=/usr/bin:/bin".into()]),
            timeout,
        }
    }

    fn run_one(script: &str, timeout: Option<Duration>) -> Result<()> {
        let annotations = BTreeMap::new();
        let state = HookState {
            oci_version: "1.0.0",
            id: "x",
            status: "created",
            pid: Some(7),
            bundle: Path::new("/b"),
            annotations: &annotations,
        };
        run_all(&[hook(script, timeout)], &state, Some(Path::new("/")), None, None)
    }

    #[test]
    fn state_env_and_cwd_arrive() {
        run_one(
            r#"grep -q '"pid":7' && [ "$A" = 1 ] && [ "$PWD" = / ] && [ "$(ls /proc/self/fd | wc -l)" = 4 ]"#,
            None,
        )
        .unwrap();
    }

    #[test]
    fn failure_names_path_and_output() {
        let text = run_one("echo some trouble >&2; exit 3", None).unwrap_err().to_string();
        assert_eq!(
            text,
            "hook failed: : hooks.prestart[0]: /bin/sh: exit status 3: some trouble".replace(": : ", ": ")
        );
    }

    #[test]
    fn timeout_kills() {
        let started = Instant::now();
        let text = run_one("sleep 30", Some(Duration::from_millis(50))).unwrap_err().to_string();
        assert!(text.contains("timed out") && started.elapsed() < Duration::from_secs(10), "{text}");
    }

    #[test]
    fn not_reading_stdin_is_fine_and_missing_program_is_not() {
        run_one("exec 0<&-; sleep 0.05", None).unwrap();
        let mut gone = hook("", None);
        gone.path = "/no/such/hook".into();
        let annotations = BTreeMap::new();
        let state = HookState {
            oci_version: "1",
            id: "x",
            status: "created",
            pid: None,
            bundle: Path::new("/"),
            annotations: &annotations,
        };
        let text = run_all(&[gone], &state, None, None, None).unwrap_err().to_string();
        assert!(text.contains("no such file or directory"), "{text}");
    }
}
