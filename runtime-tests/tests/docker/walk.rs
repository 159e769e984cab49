//! A test's turn with the daemon, and its containers.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use runtime_tests::command::{Running, wait_up_to};
use runtime_tests::console::Terminal;
use runtime_tests::engines::docker::{Daemon, IMAGE};
use runtime_tests::engines::{self, Manager};
use runtime_tests::{Case, Cmd, Output, leaks, paths, sys};

/// As docker comes, but for the runtime.
pub const DAEMON: Daemon = Daemon { network: true, default: true, ..Daemon::new(Manager::Systemd) };

/// The Debian that the VM has as an archive.
pub const DEBIAN: &str = "debian:forky";

/// Longer than any step takes where processors are emulated.
const PATIENCE: Duration = Duration::from_secs(120);

/// Polls what the daemon has to do by itself; not so often that it is kept from it.
#[track_caller]
pub fn eventually<T>(what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    wait_up_to(PATIENCE, what, || {
        let found = f();
        if found.is_none() {
            std::thread::sleep(Duration::from_millis(200));
        }
        found
    })
}

/// A container with something of everything, which tests look into that need
/// none of their own: it stays for as long as its daemon runs.
fn common(started: usize) -> String {
    static NOW: Mutex<(usize, String)> = Mutex::new((0, String::new()));
    let mut now = NOW.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let doubtful = FAILED.swap(false, Ordering::Relaxed);
    if now.0 == started && doubtful {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &now.1]).output();
    }
    if now.0 != started || doubtful {
        *now = (started, start_common());
    }
    now.1.clone()
}

/// A test has failed, and may have taken the container with it that is there for all.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Where it has its files on the host.
pub fn common_dir() -> PathBuf {
    paths::work_dir().join("docker-common")
}

fn start_common() -> String {
    let dir = common_dir();
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("variables"), "B=from a file\n# not this\nC=three\n").expect("variables");
    let flags = format!(
        "-p 8090:5000 -v /test -v {dir}:/shared --tmpfs /scratch:size=1m
        --memory 64m --memory-swap 64m --pids-limit 50 --stop-timeout 1 --ipc shareable --shm-size 3m --oom-score-adj 123
        --ulimit nofile=100:200 --ulimit core=0 --ulimit stack=1048576 --domainname example.org
        --sysctl net.ipv4.ip_unprivileged_port_start=99 --sysctl kernel.msgmax=1234
        --device /dev/fuse:/dev/it:r --device-cgroup-rule=c\u{a0}10:237\u{a0}rm
        --add-host some.host:192.0.2.7 --dns 192.0.2.53 --dns-search example.org
        -e A=one --env-file {dir}/variables -e C=four",
        dir = dir.display()
    );
    let flags = flags.split_ascii_whitespace().map(|word| word.replace('\u{a0}', " "));
    let script = "echo out; echo err >&2; echo more; while :; do nc -l -p 5000 -e echo from inside; done";
    let mut run = Command::new("docker");
    run.args(["run", "--detach"]).args(flags).args([IMAGE, "sh", "-c", script]);
    let out = run.output().expect("docker");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}

/// A test's case; its containers are gone at the end, and their cgroups.
pub struct Walk {
    pub c: Case,
    /// The container that is there for all.
    pub common: String,
    made: AtomicBool,
    // After the case, which looks at what is left.
    _turn: MutexGuard<'static, ()>,
}

impl Walk {
    pub fn new() -> Self {
        Self::with(DAEMON)
    }

    pub fn with(daemon: Daemon) -> Self {
        let turn = engines::turn();
        let started = daemon.up();
        let common = if daemon == DAEMON { common(started) } else { String::new() };
        Self { c: Case::new(), common, made: AtomicBool::new(false), _turn: turn }
    }

    pub fn docker(&self, args: &[&str]) -> Cmd {
        engines::program(&self.c, "docker").args(args)
    }

    fn label(&self) -> String {
        format!("case={}", self.c.id)
    }

    /// `docker VERB`, its container marked as this case's.
    pub fn make(&self, verb: &str, flags: &[&str], image: &str, command: &[&str]) -> Cmd {
        self.made.fetch_or(!flags.contains(&"--rm"), Ordering::Relaxed);
        self.docker(&[verb, "--label", &self.label()]).args(flags).arg(image).args(command)
    }

    /// `docker run --rm` of a script in the small image, with no network if none is asked for.
    pub fn run(&self, flags: &[&str], script: &str) -> Cmd {
        self.make("run", &[&["--rm"], &without_network(flags)[..]].concat(), IMAGE, &["sh", "-c", script])
    }

    /// The same, which succeeds; gives its output without the last newline.
    #[track_caller]
    pub fn says(&self, flags: &[&str], script: &str) -> String {
        self.run(flags, script).go().ok().text().to_owned()
    }

    /// `docker run -d` of a script; gives the container's id.
    #[track_caller]
    pub fn start(&self, flags: &[&str], script: &str) -> String {
        self.start_image(IMAGE, &without_network(flags), &["sh", "-c", script])
    }

    #[track_caller]
    pub fn start_image(&self, image: &str, flags: &[&str], command: &[&str]) -> String {
        self.make("run", &[&["--detach"], flags].concat(), image, command).go().ok().text().to_owned()
    }

    /// A script in the common container, which succeeds.
    #[track_caller]
    pub fn sees(&self, script: &str) -> String {
        self.exec(&self.common, script).ok().text().to_owned()
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
            FAILED.store(true, Ordering::Relaxed);
            // In a helper thread: what fails panics, and we are panicking already.
            let _ = std::thread::scope(|s| s.spawn(|| self.remove_all()).join());
        } else if self.made.load(Ordering::Relaxed) {
            // Those with --rm have gone with the commands that ran them.
            self.remove_all();
        }
    }
}

fn without_network<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let one = flags.iter().any(|f| f.starts_with("--network") || *f == "-p");
    let none: &[&str] = if one { &[] } else { &["--network=none"] };
    [none, flags].concat()
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
