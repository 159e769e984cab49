//! The textbook demonstration: programs that want more than they may have, and
//! a host and neighbours that do not notice. `--nocapture` shows the figures.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runtime_tests::command::wait_for;
use runtime_tests::{Case, Value, host, json, leaks, require};

const MIB: u64 = 1 << 20;

fn cgroup(c: &Case) -> PathBuf {
    leaks::cgroups(&c.id).pop().expect("a cgroup")
}

fn read(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap_or_else(|e| panic!("{file}: {e}")).trim().to_owned()
}

/// A number in a file of `key value` lines.
fn number(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("no {key}: {text}"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

// ---- memory

/// 100 MB and no swap.
fn hundred_megabytes() -> Value {
    json!({ "limit": 100 * MIB, "swap": 100 * MIB })
}

/// How many processes the kernel has killed for want of memory since it was booted.
fn killed_on_this_machine() -> u64 {
    number(&fs::read_to_string("/proc/vmstat").unwrap(), "oom_kill")
}

/// A container with a modest program, which shows signs of life.
struct Neighbour {
    case: Case,
    out: PathBuf,
    processes: Value,
    events: String,
}

impl Neighbour {
    fn new() -> Self {
        let mut case = Case::new();
        case.set("/linux/resources/memory", hundred_megabytes()).args(&["/bin/probe", "hold", "20"]);
        let out = case.start_with_output();
        wait_for("a sign of life", || (!text(&out).is_empty()).then_some(()));
        let processes = case.orlop(&["ps", "-f", "json", &case.id]).go().ok().json();
        let events = read(&cgroup(&case), "memory.events");
        Self { case, out, processes, events }
    }

    /// All is as it was, and goes on.
    #[track_caller]
    fn felt_nothing(&self) {
        let c = &self.case;
        let ticks = || text(&self.out).lines().count();
        let before = ticks();
        wait_for("more signs of life", || (ticks() > before + 2).then_some(()));
        assert_eq!(c.orlop(&["ps", "-f", "json", &c.id]).go().ok().json(), self.processes);
        assert_eq!(read(&cgroup(c), "memory.events"), self.events);
        assert_eq!(c.state().get("oom"), None);
    }
}

#[test]
fn memory() {
    require!(host::controller("memory"));
    let neighbour = Neighbour::new();
    let mut c = Case::new();
    // Without a limit it gets what it wants.
    c.args(&["/bin/probe", "alloc", "200"]);
    assert_eq!(c.run().ok().text(), format!("touched {}", 200 * MIB));

    let before = killed_on_this_machine();
    c.set("/linux/resources/memory", hundred_megabytes());
    c.sh("while ! [ -e /go ]; do sleep 0.05; done; exec probe alloc 200");
    let run = c.launch("run", &["--keep"], &c.id).limit(Duration::from_secs(60)).spawn();
    wait_for("the container", || c.root.join(&c.id).join("state.json").exists().then_some(()));
    c.wait_status("running");
    let events = c.orlop(&["events", "--interval", "1h", &c.id]).limit(Duration::from_secs(60)).spawn();
    wait_for("the first event", || events.stdout_so_far().contains('\n').then_some(()));
    fs::write(c.rootfs("go"), "").unwrap();

    // It is killed, and all who could say why do.
    let out = run.wait().exits(137);
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
    let told = events.wait().ok();
    assert_eq!(told.last_json(), json!({ "type": "oom", "id": c.id }));
    let state = c.state();
    assert_eq!(state["status"], "stopped");
    assert_eq!(state["oom"], json!({ "killed": 1, "limit": 100 * MIB }));
    let listed = c.orlop(&["list", "-f", "json"]).go().ok().json();
    assert_eq!(listed[0]["oom"], state["oom"]);

    // Nobody else is.
    assert_eq!(number(&read(&cgroup(&c), "memory.events"), "oom_kill"), 1);
    assert_eq!(killed_on_this_machine() - before, 1);
    println!("memory: {}", state["oom"]);
    neighbour.felt_nothing();
    a_worker(&neighbour);
    limit_above();
    c.verb("delete").ok();
    neighbour.case.delete();
}

/// Not the container's first process is killed: it goes on, and knows.
fn a_worker(neighbour: &Neighbour) {
    let mut c = Case::new();
    c.set("/linux/resources/memory", hundred_megabytes());
    c.sh("probe alloc 200; echo status $?; exec sleep 1000");
    let out = c.start_with_output();
    wait_for("the worker's end", || text(&out).contains("status 137").then_some(()));
    let oom = json!({ "killed": 1, "limit": 100 * MIB });
    assert_eq!((&c.state()["status"], &c.state()["oom"]), (&json!("running"), &oom));
    let stats = c.orlop(&["events", "--stats", &c.id]).go().ok().json();
    assert_eq!(stats["data"]["memory"]["oom"], oom);
    assert!(stats["data"]["memory"]["usage"]["failcnt"].as_u64().unwrap() > 0, "{stats}");
    // It explains no other failure.
    let failed = c.exec(&[], &["/no/such/program"]).go();
    assert!(!failed.stderr.contains("OOM") && failed.stderr.contains("/no/such/program"), "{}", failed.stderr);
    neighbour.felt_nothing();
    c.delete();
}

/// The limit is not the container's own, and is not said to be.
fn limit_above() {
    let mut c = Case::new();
    let above = host::cgroup2().unwrap().join(&c.id);
    c.set("/linux/cgroupsPath", format!("/{0}/in", c.id)).args(&["/bin/probe", "alloc", "200"]);
    c.create().ok();
    fs::write(above.join("memory.swap.max"), "0").unwrap();
    fs::write(above.join("memory.max"), (100 * MIB).to_string()).unwrap();
    c.verb("start").ok();
    c.wait_status("stopped");
    assert_eq!(c.state()["oom"], json!({ "killed": 1 }));
    c.delete();
    assert!(!above.exists());
}

// ---- cpu

/// Microseconds of CPU time used so far, and how often the quota was used up.
fn cpu_used(dir: &Path) -> (u64, u64) {
    let stat = read(dir, "cpu.stat");
    (number(&stat, "usage_usec"), number(&stat, "nr_throttled"))
}

#[test]
fn cpu() {
    require!(host::controller("cpu"));
    let mut c = Case::new();
    c.set("/linux/resources/cpu", json!({ "quota": 50_000, "period": 100_000 })).args(&["/bin/probe", "burn", "2"]);
    c.start();
    let dir = cgroup(&c);
    let mut best = 0.0f64;
    for _ in 0..5 {
        let (began, (used, throttled)) = (Instant::now(), cpu_used(&dir));
        std::thread::sleep(Duration::from_secs(2));
        let (used, throttled) = (cpu_used(&dir).0 - used, cpu_used(&dir).1 - throttled);
        let share = used as f64 / began.elapsed().as_micros() as f64;
        // Never more, whatever the machine does; two threads would take all of two CPUs.
        assert!(share < 0.6, "{share} of a CPU, {throttled} times throttled");
        if throttled > 0 {
            best = best.max(share);
        }
        // A busy host may give the whole machine less.
        if best > 0.4 {
            break;
        }
    }
    println!("cpu: {best:.3} of a CPU where 0.5 is allowed");
    assert!(best > 0.25, "{best} of a CPU at best");
    let stats = c.orlop(&["events", "--stats", &c.id]).go().ok().json();
    assert!(stats["data"]["cpu"]["throttling"]["throttledPeriods"].as_u64().unwrap() > 0, "{stats}");
    c.delete();
}

// ---- pids

#[test]
fn pids() {
    require!(host::controller("pids"));
    let mut c = Case::new();
    c.set("/linux/resources/pids/limit", 20).args(&["/bin/probe", "fork-bomb"]);
    let out = c.start_with_output();
    wait_for("a fork that fails", || text(&out).contains("EAGAIN").then_some(()));
    let dir = cgroup(&c);
    let full = || read(&dir, "pids.current") == "20";
    wait_for("all twenty", || full().then_some(()));
    let refused = || number(&read(&dir, "pids.events"), "max");
    let before = refused();
    wait_for("more refusals", || (refused() > before + 10).then_some(()));
    for _ in 0..50 {
        assert!(read(&dir, "pids.current").parse::<u32>().unwrap() <= 20);
    }
    let listed = c.orlop(&["ps", "-f", "json", &c.id]).go().ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 20);
    println!("pids: 20 and {} refused", refused());
    // There is no room for one more of us, either; the host has plenty.
    c.exec(&[], &["/bin/true"]).go().exits(255).says(&["cannot create the process", "linux.resources.pids.limit"]);
    c.program("true").go().ok();
    c.delete();
    c.assert_nothing_left();
}

// ---- io

#[test]
fn io() {
    require!(host::controller("io"));
    let disk = match host::spare_disk() {
        Ok(disk) => disk,
        Err(why) => runtime_tests::skip!("{why}"),
    };
    let number = fs::metadata(&disk).unwrap().rdev();
    let (major, minor) = (libc::major(number), libc::minor(number));
    let mut c = Case::new();
    c.set("/linux/devices", json!([{ "path": "/dev/disk", "type": "b", "major": major, "minor": minor }]));
    let rule = json!({ "allow": true, "type": "b", "major": major, "minor": minor, "access": "rw" });
    c.set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }, rule]));
    c.args(&["/bin/sleep", "1000"]);
    const BYTES: u64 = 3 * MIB;
    // Milliseconds for so many bytes.
    let write = |c: &Case| {
        let command = ["/bin/probe", "write-direct", "/dev/disk", &BYTES.to_string()];
        c.exec(&[], &command).limit(Duration::from_secs(120)).go().ok().last_json()["ms"].as_u64().unwrap()
    };
    c.start();
    let unlimited = (0..3).map(|_| write(&c)).min().unwrap();
    c.delete();

    let limit = json!([{ "major": major, "minor": minor, "rate": MIB }]);
    c.set("/linux/resources/blockIO", json!({ "throttleWriteBpsDevice": limit }));
    c.start();
    let limited = write(&c);
    let rate = BYTES as f64 * 1000.0 / limited as f64;
    println!("io: {unlimited} ms without a limit; {limited} ms with one, {rate:.0} bytes a second");
    assert!(rate <= 1.3 * MIB as f64, "{rate} bytes a second");
    assert!(unlimited * 2 < limited, "{unlimited} ms without a limit, {limited} ms with one");
    let stat = read(&cgroup(&c), "io.stat");
    let line = stat.lines().find(|line| line.starts_with(&format!("{major}:{minor} "))).expect("the disk");
    let written = line.split(' ').find_map(|word| word.strip_prefix("wbytes=")).unwrap();
    assert_eq!(written, BYTES.to_string());
    let stats = c.orlop(&["events", "--stats", &c.id]).go().ok().json();
    let entry = json!({ "major": major, "minor": minor, "op": "Write", "value": BYTES });
    let entries = stats["data"]["blkio"]["ioServiceBytesRecursive"].as_array().unwrap();
    assert!(entries.contains(&entry), "{entries:?}");
    c.delete();
}
