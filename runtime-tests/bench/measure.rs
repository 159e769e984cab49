//! The rounds: in each, every runtime does every operation once, side by side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use runtime_tests::Value;
use runtime_tests::sys::child;

use crate::arena::{Arena, Cost, cpu_so_far};
use crate::bundles::{self, BUNDLES, Want};
use crate::report::{About, Measured, Report, Samples};
use crate::stats::Random;
use crate::{filter, limit};

/// The operations, in the order of a container's life. All but `run` are on
/// one container, whose program sleeps.
pub const OPS: [&str; 8] = ["run", "create", "start", "state", "list", "exec", "kill", "delete"];

/// A runtime to measure.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub name: String,
    pub path: PathBuf,
}

impl Runtime {
    /// From `NAME=PATH`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once('=').ok_or_else(|| format!("--runtime: not NAME=PATH: {text}"))?;
        Ok(Self { name: name.to_owned(), path: PathBuf::from(path) })
    }
}

/// What is to be measured.
pub struct Settings {
    pub runtimes: Vec<Runtime>,
    pub base: String,
    pub rounds: usize,
    pub warmup: usize,
    pub gap_ms: u64,
    pub bundles: Vec<&'static str>,
    pub seccomp: Option<PathBuf>,
    pub place: String,
    pub date: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            runtimes: Vec::new(),
            base: "crun".to_owned(),
            rounds: 100,
            warmup: 5,
            gap_ms: 2,
            bundles: BUNDLES.to_vec(),
            seccomp: None,
            place: String::new(),
            date: String::new(),
        }
    }
}

impl Settings {
    /// Faults of the command line, before anything is made.
    pub fn check(&self) -> Result<(), String> {
        for Runtime { name, path } in &self.runtimes {
            if !path.is_file() {
                return Err(format!("--runtime {name}: no such file: {}", path.display()));
            }
        }
        if !self.runtimes.iter().any(|r| r.name == self.base) {
            return Err(format!("--base {}: no --runtime of that name", self.base));
        }
        if self.rounds == 0 || self.bundles.is_empty() {
            return Err("nothing to measure: --rounds is 0, or --bundle is neither min nor pod".to_owned());
        }
        Ok(())
    }
}

/// A runtime on a bundle: its configs, its state directory and its container.
struct Lane<'a> {
    arena: &'a Arena,
    runtime: &'a Runtime,
    bundle: &'static str,
    /// Holds `run`, `sleep`, `state` and `pid`.
    dir: PathBuf,
    id: String,
    init: Option<i32>,
}

impl<'a> Lane<'a> {
    fn new(
        arena: &'a Arena,
        runtime: &'a Runtime,
        bundle: &'static str,
        seccomp: Option<&Value>,
    ) -> Result<Self, String> {
        let id = format!("{bundle}-{}", runtime.name);
        let lane = Self { arena, runtime, bundle, dir: arena.dir.join(&id), id, init: None };
        for (name, args) in [("run", &["/bin/true"][..]), ("sleep", &["/bin/sleep", "1000000"])] {
            lane.write(name, &bundles::config(bundle, &lane.want(args, seccomp)))?;
        }
        Ok(lane)
    }

    fn want<'w>(&'w self, args: &'w [&'w str], seccomp: Option<&'w Value>) -> Want<'w> {
        Want {
            rootfs: self.arena.dir.join("rootfs"),
            cgroup: format!("{}/{}", self.arena.cgroup, self.id),
            args,
            seccomp,
        }
    }

    /// Writes a config of this lane, into a bundle named `name`.
    fn write(&self, name: &str, config: &Value) -> Result<(), String> {
        let path = self.dir.join(name);
        let fail = |e| format!("{}: {e}", path.display());
        fs::create_dir_all(&path).map_err(fail)?;
        fs::write(path.join("config.json"), format!("{config:#}")).map_err(fail)
    }

    fn command(&self, op: &str) -> Result<Command, String> {
        let mut command = self.arena.command(&self.runtime.path).map_err(|e| format!("{}: {e}", self.what(op)))?;
        command.arg("--root").arg(self.dir.join("state")).arg(op);
        match op {
            "run" => command.arg("--bundle").arg(self.dir.join("run")).arg(&self.id),
            "create" => command
                .arg("--bundle")
                .arg(self.dir.join("sleep"))
                .arg("--pid-file")
                .arg(self.dir.join("pid"))
                .arg(&self.id),
            "list" => &mut command,
            "exec" => command.args([&self.id, "/bin/true"]),
            "kill" => command.args([&self.id, "KILL"]),
            _ => command.arg(&self.id),
        };
        Ok(command)
    }

    fn what(&self, op: &str) -> String {
        format!("{} {op}, bundle {}", self.runtime.name, self.bundle)
    }

    /// One operation, timed.
    fn time(&mut self, op: &str) -> Result<Cost, String> {
        let mut command = self.command(op)?;
        let timed = self.arena.time(&mut command, self.init);
        let (status, mut cost) = timed.map_err(|e| format!("{}: {e}", self.what(op)))?;
        self.after(op, status)?;
        if let (true, Some(init)) = (op == "create", self.init) {
            cost.cpu_us += cpu_so_far(init);
        }
        Ok(cost)
    }

    /// One operation, counted.
    fn count(&mut self, op: &str) -> Result<child::Counts, String> {
        let mut command = self.command(op)?;
        let counts = child::count(&mut command).map_err(|e| format!("{}: {e}", self.what(op)))?;
        self.after(op, counts.status)?;
        Ok(counts)
    }

    /// Checks that the operation did what it should, and waits for what it began.
    fn after(&mut self, op: &str, status: i32) -> Result<(), String> {
        let output = self.arena.output();
        if status != 0 {
            return Err(format!("{} failed (wait status {status:#x}): {output}", self.what(op)));
        }
        let expected = match op {
            "state" => "\"running\"",
            "list" => &self.id,
            _ => "",
        };
        if !output.contains(expected) {
            return Err(format!("{}: no {expected} in its output: {output}", self.what(op)));
        }
        match op {
            "create" => {
                let pid = fs::read_to_string(self.dir.join("pid")).unwrap_or_default();
                self.init = Some(pid.trim().parse().map_err(|_| format!("{}: wrote no pid", self.what(op)))?);
            }
            "kill" => {
                if !self.arena.wait_empty(&self.id) {
                    return Err(format!("{}: the container is still running", self.what(op)));
                }
                // Reaped here, so that its time isn't counted as the next command's.
                let _ = self.init.take().map(child::wait);
            }
            _ => {}
        }
        Ok(())
    }

    /// Does `run` succeed with a memory limit of so many KiB?
    fn runs_within(&self, kib: u64) -> Result<bool, String> {
        pause(0)?;
        let mut config = bundles::config(self.bundle, &self.want(&["/bin/true"], None));
        let bytes = kib * 1024;
        config["linux"]["resources"]["memory"] = runtime_tests::json!({ "limit": bytes, "swap": bytes });
        self.write("run", &config)?;
        let mut command = self.command("run")?;
        let (status, _) = self.arena.time(&mut command, None).map_err(|e| format!("{}: {e}", self.what("run")))?;
        if status != 0 {
            self.clean();
        }
        Ok(status == 0)
    }

    /// Takes the container away, whatever state it is in.
    fn clean(&self) {
        self.arena.kill_all(&self.id);
        if let Ok(mut command) = self.command("delete") {
            let _ = self.arena.time(command.arg("--force"), None);
        }
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        if self.init.is_some() {
            self.clean();
        }
    }
}

/// Measures all that is asked for.
pub fn measure(settings: &Settings) -> Result<Report, String> {
    child::catch_interrupts();
    let seccomp = settings.seccomp.as_deref().map(read_seccomp).transpose()?;
    let arena = Arena::new()?;
    bundles::make_rootfs(&arena.dir)?;
    let mut groups = Vec::new();
    for bundle in &settings.bundles {
        let lanes: Result<Vec<Lane>, String> =
            settings.runtimes.iter().map(|r| Lane::new(&arena, r, bundle, seccomp.as_ref())).collect();
        groups.push(lanes?);
    }
    let mut report = describe(settings)?;
    report.filter = seccomp.as_ref().map(filter::measure).transpose()?;
    rounds(settings, &arena, &mut groups, &mut report)?;
    counts(settings, &mut groups, &mut report)?;
    if arena.controllers().split_whitespace().any(|c| c == "memory") {
        for (lane, about) in groups[0].iter().zip(&mut report.runtimes) {
            about.least_memory_kib = limit::least(|kib| lane.runs_within(kib))?;
        }
    }
    Ok(report)
}

fn rounds(s: &Settings, arena: &Arena, groups: &mut [Vec<Lane>], report: &mut Report) -> Result<(), String> {
    let nothing = arena.dir.join("rootfs/bin/true");
    let mut random = Random(0x6f72_6c6f_7020_0001);
    let mut order: Vec<usize> = (0..s.runtimes.len()).collect();
    for round in 0..s.warmup + s.rounds {
        let counts = round >= s.warmup;
        let spawned = arena.command(&nothing).and_then(|mut c| arena.time(&mut c, None));
        let (_, cost) = spawned.map_err(|e| format!("{}: {e}", nothing.display()))?;
        report.floor.add(cost, counts);
        for lanes in groups.iter_mut() {
            for op in OPS {
                // Any order: what one leaves to the kernel to clean up is in the way of the next.
                random.shuffle(&mut order);
                for at in &order {
                    let cost = lanes[*at].time(op)?;
                    let (bundle, name) = (lanes[*at].bundle, &s.runtimes[*at].name);
                    report.entry(bundle, op, name).samples.add(cost, counts);
                    pause(s.gap_ms)?;
                }
            }
        }
        if round % 10 == 9 {
            eprintln!("bench: {} of {} rounds", round + 1, s.warmup + s.rounds);
        }
    }
    Ok(())
}

fn pause(ms: u64) -> Result<(), String> {
    if child::interrupted() {
        return Err("interrupted".to_owned());
    }
    if ms > 0 {
        std::thread::sleep(Duration::from_millis(ms));
    }
    Ok(())
}

fn counts(s: &Settings, groups: &mut [Vec<Lane>], report: &mut Report) -> Result<(), String> {
    for lane in groups.iter_mut().flatten() {
        for op in OPS {
            let counts = lane.count(op)?;
            let entry = report.entry(lane.bundle, op, &lane.runtime.name);
            entry.syscalls = counts.syscalls;
            entry.tasks = counts.tasks;
            entry.execs = counts.execs;
            entry.peak_kib = counts.peak_kib;
            pause(s.gap_ms)?;
        }
    }
    Ok(())
}

impl Samples {
    fn add(&mut self, cost: Cost, counts: bool) {
        if counts {
            self.wall_us.push(cost.wall_us);
            self.cpu_us.push(cost.cpu_us);
        }
    }
}

impl Report {
    fn entry(&mut self, bundle: &str, op: &str, runtime: &str) -> &mut Measured {
        let is = |m: &Measured| m.bundle == bundle && m.op == op && m.runtime == runtime;
        let at = self.results.iter().position(is).unwrap_or_else(|| {
            let (bundle, op, runtime) = (bundle.to_owned(), op.to_owned(), runtime.to_owned());
            self.results.push(Measured { bundle, op, runtime, ..Measured::default() });
            self.results.len() - 1
        });
        &mut self.results[at]
    }
}

fn read_seccomp(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("--seccomp {}: {e}", path.display()))?;
    let profile: Value = serde_json::from_str(&text).map_err(|e| format!("--seccomp {}: {e}", path.display()))?;
    Ok(bundles::seccomp(&profile))
}

fn describe(s: &Settings) -> Result<Report, String> {
    let line = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find_map(|l| l.strip_prefix(key).map(|v| v.trim_matches([' ', '\t', ':', '=', '"'])));
        found.unwrap_or("?").to_owned()
    };
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default().matches("processor\t").count();
    let machine = vec![
        format!("Linux {}", line("/proc/sys/kernel/osrelease", "")),
        format!("{cpus} × {}", line("/proc/cpuinfo", "model name")),
        line("/etc/os-release", "PRETTY_NAME"),
    ];
    let runtimes: Result<Vec<About>, String> = s.runtimes.iter().map(about).collect();
    Ok(Report {
        place: s.place.clone(),
        machine,
        date: s.date.clone(),
        rounds: s.rounds,
        gap_ms: s.gap_ms,
        base: s.base.clone(),
        runtimes: runtimes?,
        ..Report::default()
    })
}

fn about(runtime: &Runtime) -> Result<About, String> {
    let Runtime { name, path } = runtime;
    let output = |program: &Path, args: &[&std::ffi::OsStr]| {
        let out = Command::new(program).args(args).output().map_err(|e| format!("{}: {e}", program.display()))?;
        Ok::<_, String>(String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let version = output(path, &["--version".as_ref()])?.lines().next().unwrap_or("?").to_owned();
    // The kernel's own and none, for a static binary, are not files.
    let linked = output(Path::new("ldd"), &[path.as_os_str()])?;
    let libraries = linked.lines().filter(|l| l.contains(" (0x") && l.contains('/')).count();
    let bytes = fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?.len();
    Ok(About { name: name.clone(), version, bytes, libraries, least_memory_kib: None })
}
