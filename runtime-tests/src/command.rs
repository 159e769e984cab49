//! Running a command with a time limit, its output kept in files.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{reaper, sys};

/// No command of a test takes longer, unless it says so.
pub const LIMIT: Duration = Duration::from_secs(20);

/// What a command left: status and output.
#[derive(Debug)]
pub struct Output {
    what: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// The exit status; 128 + n if a signal ended the command itself.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Insists on exit status 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Insists on an exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{}\nstdout: {}\nstderr: {}", self.what, self.stdout, self.stderr);
        self
    }

    /// Insists on exit status 1 and on every text in the message.
    #[track_caller]
    pub fn fails_with(self, texts: &[&str]) -> Self {
        let this = self.exits(1);
        this.says(texts)
    }

    /// Insists on every text in stderr.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "{}\nexpected {text:?} in: {}", self.what, self.stderr);
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_str(&self.stdout);
        parsed.unwrap_or_else(|e| panic!("{}: {e}\nstdout: {}\nstderr: {}", self.what, self.stdout, self.stderr))
    }

    /// The last line of standard output as JSON, for programs that print other things first.
    #[track_caller]
    pub fn last_json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or("");
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {}{}", self.what, self.stdout, self.stderr))
    }

    /// Standard output without the newline at its end.
    pub fn text(&self) -> &str {
        self.stdout.trim_end()
    }
}

/// A command about to run.
///
/// Output goes to files, not pipes: a container that outlives `create` keeps
/// the files open without anyone waiting for it.
pub struct Cmd {
    command: Command,
    what: String,
    out: PathBuf,
    err: PathBuf,
    limit: Duration,
    own_stdout: bool,
    own_stderr: bool,
}

/// A command that runs.
pub struct Running {
    /// The process.
    pub child: Child,
    what: String,
    out: PathBuf,
    err: PathBuf,
    limit: Duration,
}

impl Cmd {
    /// A command whose output is kept in `dir`.
    pub fn new(program: impl AsRef<OsStr>, dir: &Path) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let what = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        // What the tests themselves were given (make's job server, say) stays here.
        sys::close_on_exec_from_3(&mut command);
        let (out, err) = (dir.join(format!("out.{n}")), dir.join(format!("err.{n}")));
        Self { command, what, out, err, limit: LIMIT, own_stdout: false, own_stderr: false }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.what.push(' ');
        self.what.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Sets the working directory.
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Gives it a standard input.
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    /// Gives it a standard output of the test's own.
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self.own_stdout = true;
        self
    }

    /// Gives it a standard error of the test's own.
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stderr(to);
        self.own_stderr = true;
        self
    }

    /// Leaves `fds` open in it as 3, 4, … (in this order).
    pub fn pass_fds(mut self, fds: &[impl AsFd]) -> Self {
        sys::pass_fds(&mut self.command, fds);
        self
    }

    /// Runs it with a pty as controlling terminal and standard streams.
    pub fn on_tty(mut self, slave: &File) -> Self {
        let copy = || Stdio::from(slave.try_clone().expect("dup"));
        self.command.stdin(copy()).stdout(copy()).stderr(copy());
        self.own_stdout = true;
        self.own_stderr = true;
        sys::new_session_on_stdin(&mut self.command);
        self
    }

    /// Anything else that [`Command`] can do.
    pub fn with(mut self, f: impl FnOnce(&mut Command)) -> Self {
        f(&mut self.command);
        self
    }

    /// Changes the time limit.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it.
    #[track_caller]
    pub fn spawn(mut self) -> Running {
        if !self.own_stdout {
            self.command.stdout(File::create(&self.out).expect("output file"));
        }
        if !self.own_stderr {
            self.command.stderr(File::create(&self.err).expect("output file"));
        }
        // Dies with the test program, should that be killed.
        sys::die_with_parent(&mut self.command);
        let child = reaper::spawn(&mut self.command).unwrap_or_else(|e| panic!("{}: {e}", self.what));
        Running { child, what: self.what, out: self.out, err: self.err, limit: self.limit }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn go(self) -> Output {
        self.spawn().wait()
    }

    /// The program's name as argv[0] shows it.
    pub fn arg0(mut self, name: impl Into<OsString>) -> Self {
        self.command.arg0(name.into());
        self
    }
}

impl Running {
    /// Its pid.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// What it has written to standard output so far.
    pub fn stdout_so_far(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// Waits for its end, no longer than the limit.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let end = Instant::now() + self.limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                reaper::done(self.pid());
                break status;
            }
            if Instant::now() > end {
                let stuck = whereabouts(self.pid());
                let ended = self.end_by_force();
                let (out, err) = (self.read(&self.out), self.read(&self.err));
                let (what, limit) = (&self.what, self.limit);
                panic!("{what} ran for more than {limit:?}{ended}; it was {stuck}\nstdout: {out}\nstderr: {err}");
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        Output { what: self.what.clone(), status, stdout: self.read(&self.out), stderr: self.read(&self.err) }
    }

    /// Kills it. One that the kernel does not let go is not waited for for ever, but told of.
    fn end_by_force(&mut self) -> &'static str {
        let _ = self.child.kill();
        for _ in 0..5000 {
            if self.child.try_wait().is_ok_and(|status| status.is_none()) {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            reaper::done(self.pid());
            return "";
        }
        " and did not end when killed"
    }

    fn read(&self, path: &Path) -> String {
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }
}

/// What a process is doing: its state and where in the kernel that is, innermost first.
fn whereabouts(pid: i32) -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let status = read("status");
    let state = status.lines().find_map(|l| l.strip_prefix("State:")).unwrap_or("gone").trim();
    let stack = read("stack");
    let calls: Vec<&str> = stack.lines().filter_map(|l| l.split(' ').nth(1)?.split('+').next()).collect();
    format!("{state}, in {}", calls.join(" < "))
}

/// Polls until `f` gives something, no longer than the usual limit.
#[track_caller]
pub fn wait_for<T>(what: &str, f: impl FnMut() -> Option<T>) -> T {
    wait_up_to(LIMIT, what, f)
}

/// The same with another limit.
#[track_caller]
pub fn wait_up_to<T>(limit: Duration, what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = f() {
            return found;
        }
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_takes_too_long_is_killed_and_told_of() {
        let dir = tempfile::tempdir().expect("a directory");
        let command = Cmd::new("/bin/sleep", dir.path()).arg("1000").limit(Duration::from_millis(300));
        let running = command.spawn();
        let pid = running.pid();
        let panic = std::panic::catch_unwind(|| running.wait()).expect_err("it does not end by itself");
        let said = panic.downcast_ref::<String>().expect("a message");
        assert!(said.contains("sleep 1000 ran for more than 300ms; it was S (sleeping), in "), "{said}");
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it lives");
    }
}
