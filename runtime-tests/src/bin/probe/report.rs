//! What the process is and has.

use std::collections::BTreeMap;
use std::fs;

use runtime_tests::sys;
use serde_json::{Map, Value, json};

/// Everything about this process.
pub fn all() -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut report = from_status(&status);
    report.extend(own());
    Value::Object(report)
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or("").trim()
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|n| n.parse().ok()).collect()
}

/// A mask as the list of bits in it; `first` is what bit 0 is called.
fn bits(hex: &str, first: u32) -> Vec<u32> {
    let mask = u64::from_str_radix(hex, 16).unwrap_or(0);
    (0..64).filter(|n| mask & (1 << n) != 0).map(|n| n + first).collect()
}

fn from_status(status: &str) -> Map<String, Value> {
    let f = |name| field(status, name);
    let caps: BTreeMap<&str, Vec<u32>> = [
        ("effective", "CapEff"),
        ("permitted", "CapPrm"),
        ("inheritable", "CapInh"),
        ("bounding", "CapBnd"),
        ("ambient", "CapAmb"),
    ]
    .into_iter()
    .map(|(key, name)| (key, bits(f(name), 0)))
    .collect();
    let object = json!({
        "uid": numbers(f("Uid")),
        "gid": numbers(f("Gid")),
        "groups": numbers(f("Groups")),
        "caps": caps,
        "no_new_privs": f("NoNewPrivs") == "1",
        "seccomp": f("Seccomp"),
        "filters": f("Seccomp_filters"),
        "blocked": bits(f("SigBlk"), 1),
        "ignored": bits(f("SigIgn"), 1),
        "cpus": f("Cpus_allowed_list"),
        "threads": f("Threads"),
    });
    let Value::Object(map) = object else { unreachable!() };
    map
}

fn own() -> Map<String, Value> {
    let (mode, nodes) = sys::mempolicy();
    let object = json!({
        "pid": std::process::id(),
        "cwd": std::env::current_dir().map(|p| p.to_string_lossy().into_owned()).unwrap_or_else(|e| sys::errno_name(&e)),
        "env": std::env::vars().collect::<BTreeMap<_, _>>(),
        "args": std::env::args().collect::<Vec<_>>(),
        "umask": sys::umask(),
        "rlimits": rlimits(),
        "oom_score_adj": read("/proc/self/oom_score_adj"),
        "sched": sys::sched_attr(),
        "io_priority": sys::io_priority(),
        "personality": sys::personality(),
        "mempolicy": [json!(mode), json!(nodes)],
        "pdeathsig": sys::pdeathsig(),
        "dumpable": sys::dumpable(),
        "keyring": sys::session_keyring().unwrap_or_else(|e| sys::errno_name(&e)),
        "keyring_label": sys::session_keyring_label().unwrap_or_else(|e| sys::errno_name(&e)),
        "fds": fds(),
        "namespaces": namespaces(),
        "hostname": read("/proc/sys/kernel/hostname"),
        "domainname": read("/proc/sys/kernel/domainname"),
        "cgroup": read("/proc/self/cgroup"),
        "session": read("/proc/self/sessionid"),
        "stdin_tty": sys::tty_size(&std::io::stdin()).ok(),
        "stat": read("/proc/self/stat"),
    });
    let Value::Object(map) = object else { unreachable!() };
    map
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

fn rlimits() -> Map<String, Value> {
    let list: [(&str, u32); 16] = [
        ("RLIMIT_CPU", 0),
        ("RLIMIT_FSIZE", 1),
        ("RLIMIT_DATA", 2),
        ("RLIMIT_STACK", 3),
        ("RLIMIT_CORE", 4),
        ("RLIMIT_RSS", 5),
        ("RLIMIT_NPROC", 6),
        ("RLIMIT_NOFILE", 7),
        ("RLIMIT_MEMLOCK", 8),
        ("RLIMIT_AS", 9),
        ("RLIMIT_LOCKS", 10),
        ("RLIMIT_SIGPENDING", 11),
        ("RLIMIT_MSGQUEUE", 12),
        ("RLIMIT_NICE", 13),
        ("RLIMIT_RTPRIO", 14),
        ("RLIMIT_RTTIME", 15),
    ];
    list.into_iter().map(|(name, n)| (name.to_owned(), json!(sys::rlimit(n)))).collect()
}

/// Open descriptors and what they are; the one used for looking is left out.
fn fds() -> BTreeMap<String, String> {
    let names: Vec<String> = match fs::read_dir("/proc/self/fd") {
        Ok(list) => list.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect(),
        Err(_) => return BTreeMap::new(),
    };
    // The directory is closed again: what is still there is really open.
    let target = |n: &String| fs::read_link(format!("/proc/self/fd/{n}")).ok();
    names.into_iter().filter_map(|n| target(&n).map(|t| (n, t.to_string_lossy().into_owned()))).collect()
}

fn namespaces() -> BTreeMap<String, String> {
    let list = fs::read_dir("/proc/self/ns").into_iter().flatten().flatten();
    let link = |e: fs::DirEntry| {
        let target = fs::read_link(e.path()).ok()?;
        Some((e.file_name().to_string_lossy().into_owned(), target.to_string_lossy().into_owned()))
    };
    list.filter_map(link).collect()
}

/// What is mounted at the paths given, topmost last; all mounts if none are.
pub fn mountinfo(paths: &[String]) -> Value {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let list = text.lines().filter_map(entry);
    list.filter(|m| paths.is_empty() || paths.iter().any(|p| m["point"] == p.as_str())).collect()
}

fn entry(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    Some(json!({
        "id": left[0],
        "root": left[3],
        "point": left[4],
        "options": left[5].split(',').collect::<Vec<_>>(),
        "propagation": left[6..],
        "type": right[0],
        "source": right[1],
        "super": right[2].split(',').collect::<Vec<_>>(),
    }))
}
