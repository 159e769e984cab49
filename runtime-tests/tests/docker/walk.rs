//! A test's turn with the daemon, and its containers.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, OnceLock};
use std::time::Duration;

use runtime_tests::command::{Running, wait_up_to};
use runtime_tests::console::Terminal;
use runtime_tests::engines::docker::{Daemon, IMAGE};
use runtime_tests::engines::{self, Manager};
use runtime_tests::{Case, Cmd, Output, leaks, sys};

/// As docker comes, but for the runtime.
pub const DAEMON: Daemon = Daemon { network: true, default: true, ..Daemon::new(Manager::Systemd) };

/// The Debian that the VM has as an archive.
pub const DEBIAN: &str = "debian:forky";

/// Longer than any step takes where processors are emulated.
const PATIENCE: Duration = Duration::from_secs(120);

/// Polls what the daemon has to do by itself.
#[track_caller]
pub fn eventually<T>(what: &str, f: impl FnMut() -> Option<T>) -> T {
    wait_up_to(PATIENCE, what, f)
}

/// A test's case; its containers are gone at the end, and their cgroups.
pub struct Walk {
    pub c: Case,
    // After the case, which looks at what is left.
    _turn: MutexGuard<'static, ()>,
}

impl Walk {
    pub fn new() -> Self {
        Self::with(DAEMON)
    }

    pub fn with(daemon: Daemon) -> Self {
        let turn = engines::turn();
        daemon.up();
        Self { c: Case::new(), _turn: turn }
    }

    pub fn docker(&self, args: &[&str]) -> Cmd {
        engines::program(&self.c, "docker").args(args)
    }

    fn label(&self) -> String {
        format!("case={}", self.c.id)
    }

    /// `docker VERB`, its container marked as this case's.
    pub fn make(&self, verb: &str, flags: &[&str], image: &str, command: &[&str]) -> Cmd {
        self.docker(&[verb, "--label", &self.label()]).args(flags).arg(image).args(command)
    }

    /// `docker run --rm` of a script in the small image.
    pub fn run(&self, flags: &[&str], script: &str) -> Cmd {
        self.make("run", &[&["--rm"], flags].concat(), IMAGE, &["sh", "-c", script])
    }

    /// The same, which succeeds; gives its output without the last newline.
    #[track_caller]
    pub fn says(&self, flags: &[&str], script: &str) -> String {
        self.run(flags, script).go().ok().text().to_owned()
    }

    /// `docker run -d` of a script; gives the container's id.
    #[track_caller]
    pub fn start(&self, flags: &[&str], script: &str) -> String {
        self.start_image(IMAGE, flags, &["sh", "-c", script])
    }

    #[track_caller]
    pub fn start_image(&self, image: &str, flags: &[&str], command: &[&str]) -> String {
        self.make("run", &[&["--detach"], flags].concat(), image, command).go().ok().text().to_owned()
    }

    /// `docker exec` of a script.
    #[track_caller]
    pub fn exec(&self, id: &str, script: &str) -> Output {
        self.docker(&["exec", id, "sh", "-c", script]).go()
    }

    #[track_caller]
    pub fn inspect(&self, id: &str, format: &str) -> String {
        self.docker(&["inspect", "--format", format, id]).go().ok().text().to_owned()
    }

    #[track_caller]
    pub fn pid(&self, id: &str) -> u64 {
        self.inspect(id, "{{.State.Pid}}").parse().expect("a pid")
    }

    /// What a container has written so far, both streams.
    #[track_caller]
    pub fn logs(&self, id: &str) -> String {
        let out = self.docker(&["logs", id]).go().ok();
        out.stdout + &out.stderr
    }

    /// Waits until a container has written something.
    #[track_caller]
    pub fn wait_log(&self, id: &str, text: &str) {
        eventually(text, || self.logs(id).contains(text).then_some(()));
    }

    /// Waits for a container's end; gives its status.
    #[track_caller]
    pub fn wait(&self, id: &str) -> i32 {
        self.docker(&["wait", id]).go().ok().text().parse().expect("a status")
    }

    /// A docker command on a terminal of 40 rows and 100 columns.
    pub fn on_terminal(&self, command: Cmd) -> (Terminal, Running) {
        let (master, slave): (File, File) = sys::open_pty();
        sys::set_tty_size(&master, 40, 100);
        let running = command.env("TERM", "xterm").on_tty(&slave).spawn();
        (Terminal::new(master).patient(PATIENCE), running)
    }

    /// A new directory on the host.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.c.dir.join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    /// The Debian image, imported once; gives what `docker import` said.
    pub fn debian(&self) -> &'static str {
        static IMPORTED: OnceLock<String> = OnceLock::new();
        IMPORTED.get_or_init(|| {
            let changes = ["--change", r#"CMD ["/bin/bash"]"#, "--change", "ENV DEBIAN_FRONTEND=noninteractive"];
            let import = self.docker(&["import"]).args(changes).args(["/usr/share/orlop-test/debian.tar", DEBIAN]);
            import.go().ok().text().to_owned()
        })
    }

    /// Removes this case's containers, in whatever state they are.
    fn remove_all(&self) {
        let filter = format!("label={}", self.label());
        let ids = self.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]).go().ok().stdout;
        let ids: Vec<&str> = ids.lines().collect();
        if ids.is_empty() {
            return;
        }
        self.docker(&["rm", "--force", "--volumes"]).args(&ids).go().ok();
        for id in ids {
            eventually("the cgroup's end", || leaks::cgroups(id).is_empty().then_some(()));
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // In a helper thread: what fails panics, and we are panicking already.
            let _ = std::thread::scope(|s| s.spawn(|| self.remove_all()).join());
        } else {
            self.remove_all();
        }
    }
}

/// A path in an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// What a port says by itself to whoever comes; nothing if nobody answers.
pub fn greeting(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    (!said.is_empty()).then_some(said)
}

/// One HTTP request; nothing if nobody answers.
pub fn get(address: &str, path: &str) -> Option<String> {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: orlop\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}
