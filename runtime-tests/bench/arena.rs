//! Where the benchmark runs: a work directory, a cgroup, and the taking away of both.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime_tests::host;
use runtime_tests::sys::{self, child};

/// No command takes longer: then it hangs, and is killed.
const LIMIT: Duration = Duration::from_secs(30);

/// What a command cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// From before the spawn to the reaping, in µs.
    pub wall_us: f64,
    /// User and system time of all processes that have ended, in µs.
    pub cpu_us: f64,
}

/// The work directory and the cgroup of this run; dropped, nothing is left of either.
pub struct Arena {
    /// `/run/orlop-bench-PID`.
    pub dir: PathBuf,
    /// The cgroup as `linux.cgroupsPath` names it, without a trailing slash.
    pub cgroup: String,
    cgroup_dir: PathBuf,
    /// The root's `cgroup.subtree_control` as it was: the peers add to it.
    root_controllers: String,
    running: Arc<AtomicU64>,
}

impl Arena {
    /// Makes directory and cgroup.
    pub fn new() -> Result<Self, String> {
        let mount = host::cgroup2().filter(|m| m == Path::new("/sys/fs/cgroup"));
        let mount = mount.ok_or("no cgroup v2 at /sys/fs/cgroup: runtime-tests/bench/native.sh provides it")?;
        sys::become_subreaper().map_err(|e| format!("cannot become a subreaper: {e}"))?;
        let name = format!("orlop-bench-{}", std::process::id());
        let arena = Self {
            dir: Path::new("/run").join(&name),
            cgroup: format!("/{name}"),
            cgroup_dir: mount.join(&name),
            root_controllers: fs::read_to_string(mount.join("cgroup.subtree_control")).unwrap_or_default(),
            running: Arc::default(),
        };
        fs::create_dir_all(&arena.dir).map_err(|e| format!("{}: {e}", arena.dir.display()))?;
        fs::create_dir(&arena.cgroup_dir).map_err(|e| format!("{}: {e}", arena.cgroup_dir.display()))?;
        for controller in arena.controllers().split_whitespace() {
            // Nobody needs to do it later, while timed.
            let _ = fs::write(arena.cgroup_dir.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        watch(Arc::clone(&arena.running));
        Ok(arena)
    }

    /// The controllers that containers can have here.
    pub fn controllers(&self) -> String {
        fs::read_to_string(self.cgroup_dir.join("cgroup.controllers")).unwrap_or_default()
    }

    /// A command with as little as possible to inherit; its output goes to a file.
    pub fn command(&self, program: &Path) -> io::Result<Command> {
        let output = File::create(self.output_file())?;
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        // A group of its own: Ctrl-C is for us, and we end when it is done.
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        Ok(command)
    }

    fn output_file(&self) -> PathBuf {
        self.dir.join("output")
    }

    /// What the last command wrote.
    pub fn output(&self) -> String {
        fs::read_to_string(self.output_file()).unwrap_or_default()
    }

    /// Runs a command to its end. `init` is a container's process that may end
    /// meanwhile and whose time is not the command's.
    pub fn time(&self, command: &mut Command, init: Option<i32>) -> io::Result<(i32, Cost)> {
        let start = Instant::now();
        #[allow(clippy::zombie_processes)] // waited for below, by pid
        let pid = command.spawn()?.id();
        self.running.store(u64::from(pid), Ordering::Relaxed);
        let ended = child::wait(pid as i32)?;
        let wall = start.elapsed();
        self.running.store(0, Ordering::Relaxed);
        let mut cpu = ended.cpu;
        while let Some(orphan) = child::wait_any() {
            if Some(orphan.pid) != init {
                cpu += orphan.cpu;
            }
        }
        Ok((ended.status, Cost { wall_us: wall.as_secs_f64() * 1e6, cpu_us: cpu.as_secs_f64() * 1e6 }))
    }

    /// Kills what is in a cgroup below ours and reaps it.
    pub fn kill_all(&self, below: &str) {
        let _ = fs::write(self.cgroup_dir.join(below).join("cgroup.kill"), "1");
        self.wait_empty(below);
    }

    /// Reaps until nothing is left in a cgroup below ours; false if that takes more than some seconds.
    pub fn wait_empty(&self, below: &str) -> bool {
        let file = self.cgroup_dir.join(below).join("cgroup.events");
        for _ in 0..2000 {
            while child::wait_any().is_some() {}
            let events = fs::read_to_string(&file).unwrap_or_default();
            if !events.contains("populated 1") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.kill_all("");
        remove_cgroups(&self.cgroup_dir);
        if self.cgroup_dir.exists() {
            eprintln!("bench: could not remove {}", self.cgroup_dir.display());
        }
        let control = self.cgroup_dir.with_file_name("cgroup.subtree_control");
        for controller in fs::read_to_string(&control).unwrap_or_default().split_whitespace() {
            if !self.root_controllers.split_whitespace().any(|c| c == controller) {
                let _ = fs::write(&control, format!("-{controller}"));
            }
        }
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            eprintln!("bench: could not remove {}: {e}", self.dir.display());
        }
    }
}

fn remove_cgroups(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// Kills the command in `running` when it has been there for too long.
fn watch(running: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = running.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if now != 0 && since.elapsed() > LIMIT {
                eprintln!("bench: killing a command that has been running for {} s", LIMIT.as_secs());
                let _ = sys::kill(-(now as i32), libc::SIGKILL);
            }
        }
    });
}

/// Time on a processor so far, in µs; of a process that is still running.
pub fn cpu_so_far(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}
