//! The same attempts under the same profile, by the runtime, crun and runc: a
//! table of the verdicts, for docs/seccomp.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use runtime_tests::engines::docker::IMAGE as DOCKERS_IMAGE;
use runtime_tests::engines::{IMAGE, Manager, engines, offered, program};
use runtime_tests::{Case, Cmd, Value, paths, require};

use super::docker;

const ENGINES: [&str; 3] = ["podman", "docker", "ctr"];
const PEERS: [&str; 2] = ["crun", "runc"];
const ARCHES: [&str; 3] = ["x86_64", "x32", "i386"];

/// The attempts of `probe verdicts`, by one engine on one runtime. The
/// machine's /usr is there for its strace.
fn answers(c: &Case, engine: &str, runtime: &str) -> Value {
    let peer = || if runtime == "orlop" { paths::orlop().to_path_buf() } else { format!("/usr/bin/{runtime}").into() };
    let run: Cmd = match engine {
        "podman" => {
            let run = program(c, "podman").arg("--runtime").arg(peer()).args(["--cgroup-manager=cgroupfs", "run"]);
            run.args(["--rm", "--network=none", "--volume=/usr:/usr:ro", IMAGE])
        }
        "docker" => {
            let named = if runtime == "orlop" { "tested" } else { runtime };
            let run = program(c, "docker").args(["run", "--rm", "--runtime", named, "--network=none"]);
            run.args(["--volume=/usr:/usr:ro", DOCKERS_IMAGE])
        }
        _ => {
            let run = program(c, "ctr").args(["run", "--rm", "--runtime", "io.containerd.runc.v2", "--runc-binary"]);
            let run = run.arg(peer()).args(["--seccomp", "--apparmor-default-profile", "orlop-test-default"]);
            run.args(["--mount", "type=bind,src=/usr,dst=/usr,options=rbind:ro", IMAGE, &c.id])
        }
    };
    run.args(["/bin/probe", "verdicts"]).go().ok().last_json()
}

/// One row's verdicts by runtime, as a cell: ours, and those of peers that differ.
fn cell(verdicts: &[(&str, String)]) -> String {
    let (_, own) = &verdicts[0];
    let others = verdicts.iter().filter(|(_, v)| v != own).map(|(runtime, v)| format!("{runtime}: {v}"));
    match others.collect::<Vec<_>>() {
        others if others.is_empty() => own.clone(),
        others => format!("{own} ({})", others.join("; ")),
    }
}

type Answers = BTreeMap<(&'static str, &'static str), Value>;

fn runtimes() -> impl Iterator<Item = &'static str> + Clone {
    std::iter::once("orlop").chain(PEERS)
}

/// Like `3 EPERM, 4 ENOSYS`; what got past the filter only as a number.
fn summary(numbers: &Value) -> String {
    let list = numbers.as_array().expect("verdicts");
    let count = |what: &str| list.iter().filter(|v| *v == what).count();
    let (enosys, eperm) = (count("ENOSYS"), count("EPERM"));
    format!("{enosys} ENOSYS, {eperm} EPERM, {} others", list.len() - enosys - eperm)
}

fn table(answers: &Answers) -> String {
    let mut text = String::from("| attempt | podman | docker | containerd |\n|---|---|---|---|\n");
    let named = answers[&("podman", "orlop")]["named"].as_array().expect("rows");
    for (i, row) in named.iter().enumerate() {
        let of = |engine| {
            let one = |runtime| (runtime, answers[&(engine, runtime)]["named"][i][1].as_str().unwrap().to_owned());
            cell(&runtimes().map(one).collect::<Vec<_>>())
        };
        let _ = writeln!(text, "| {} | {} |", row[0].as_str().unwrap(), ENGINES.map(of).join(" | "));
    }
    for arch in ARCHES {
        let of = |engine| {
            let one = |runtime| (runtime, summary(&answers[&(engine, runtime)]["numbers"][arch]));
            cell(&runtimes().map(one).collect::<Vec<_>>())
        };
        let _ = writeln!(text, "| {arch}: all numbers below 600 | {} |", ENGINES.map(of).join(" | "));
    }
    text
}

/// Is it newer than all that the profile names? These are ENOSYS with runc (its
/// `libcontainer/seccomp/patchbpf`) and with us, so that programs fall back to
/// older ones; for crun they are like others that the profile does not name.
fn newer(answers: &Value, arch: &str, number: usize) -> bool {
    let all = answers["numbers"][arch].as_array().expect("verdicts");
    all.iter().skip(number).all(|v| v == "ENOSYS")
}

/// What differs from a peer without being meant to.
fn differences(answers: &Answers) -> Vec<String> {
    let mut out = Vec::new();
    for (engine, peer) in ENGINES.into_iter().flat_map(|e| PEERS.map(|p| (e, p))) {
        let (own, other) = (&answers[&(engine, "orlop")], &answers[&(engine, peer)]);
        let mut compare = |name: &str, arch: &str, number: usize, a: &Value, b: &Value| {
            let meant = peer == "crun" && a == "ENOSYS" && b == "EPERM" && newer(own, arch, number);
            if a != b && !meant {
                out.push(format!("{engine}, {arch} {number} {name}: {a}, and with {peer} {b}"));
            }
        };
        let rows = |answers: &Value| answers["named"].as_array().expect("rows").clone();
        for (a, b) in rows(own).iter().zip(&rows(other)) {
            let number = a[3].as_u64().unwrap_or(0) as usize;
            compare(a[0].as_str().unwrap(), a[2].as_str().unwrap_or(""), number, &a[1], &b[1]);
        }
        for arch in ARCHES {
            let of = |answers: &Value| answers["numbers"][arch].as_array().expect("verdicts").clone();
            let pairs = of(own).into_iter().zip(of(other)).enumerate();
            pairs.for_each(|(n, (a, b))| compare("", arch, n, &a, &b));
        }
    }
    out
}

fn versions(c: &Case) -> String {
    let first = |name: &str, args: &[&str]| {
        let out = program(c, name).args(args).go().ok().stdout;
        out.lines().next().unwrap_or("").trim().to_owned()
    };
    let engines = [("podman", "--version"), ("docker", "--version"), ("containerd", "--version")];
    let all = engines.into_iter().chain(PEERS.map(|p| (p, "--version")));
    let mut lines: Vec<String> = all.map(|(name, flag)| first(name, &[flag])).collect();
    lines.push(format!("Linux {}", first("uname", &["-r"])));
    lines.join("; ")
}

/// Nine containers with two thousand calls each are minutes where they are emulated.
fn in_full() -> Result<(), String> {
    let full = runtime_tests::host::rounds(100) >= 100;
    if full { Ok(()) } else { Err("takes minutes in the VM: ROUNDS=100 make test-vm SUITES=engines".to_owned()) }
}

#[test]
fn the_default_profiles_do_the_same_as_with_crun_and_runc() {
    require!(offered(Manager::Systemd));
    require!(in_full());
    let _turn = engines();
    docker::daemon(Manager::Systemd);
    let c = Case::new();
    let mut all = Answers::new();
    for engine in ENGINES {
        for runtime in runtimes() {
            all.insert((engine, runtime), answers(&c, engine, runtime));
        }
    }
    let text = format!("{}\n{}\n", table(&all), versions(&c));
    // In the checkout, which is shared with the host; and not captured.
    fs::write(paths::target_dir().join("vm/seccomp.md"), &text).expect("the table");
    let _ = std::io::stderr().write_all(text.as_bytes());
    let different = differences(&all);
    assert!(different.is_empty(), "{}", different.join("\n"));
}
