//! Tests of what `update` makes of flags and documents.

use super::*;

fn flags(list: &[(&'static str, &str)], current: &Current) -> Result<Vec<String>, String> {
    both(None, list, current)
}

fn both(json: Option<&str>, list: &[(&'static str, &str)], current: &Current) -> Result<Vec<String>, String> {
    let list: Vec<_> = list.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    let found = update(json, &list, current).map_err(|e| e.to_string())?;
    Ok(found.settings.iter().map(|s| format!("{} {}={}", s.field, s.file, s.value)).collect())
}

fn current(cpu_max: &str, memory_max: &str) -> Current {
    Current { cpu_max: Some(cpu_max.into()), memory_max: Some(memory_max.into()) }
}

#[test]
fn amounts_of_memory() {
    for (text, value) in
        [("-1", -1), ("0", 0), ("5", 5), ("1k", 1024), ("64M", 64 << 20), ("2gb", 2 << 30), ("1GiB", 1 << 30)]
    {
        assert_eq!(bytes(text), Ok(value), "{text}");
    }
    assert_eq!(bytes("1.5k"), Ok(1536));
    assert_eq!(bytes("3b"), Ok(3));
    for text in ["", "-2", "m", "1x", "1 2", "1.2.3", "99999999999999999999", "9999999p", "0x10", "ib", "1ib", "-1m"] {
        assert!(bytes(text).is_err(), "{text}");
    }
}

#[test]
fn every_flag() {
    let now = Current::default();
    let one = |flag, text| flags(&[(flag, text)], &now).unwrap();
    assert_eq!(one("memory", "64m"), ["--memory memory.max=67108864"]);
    assert_eq!(one("memory-reservation", "1k"), ["--memory-reservation memory.low=1024"]);
    assert_eq!(one("memory-swap", "-1"), ["--memory-swap memory.swap.max=max"]);
    assert_eq!(one("kernel-memory", "5"), [""; 0]);
    assert_eq!(one("cpu-share", "1024"), ["--cpu-share cpu.weight=100"]);
    assert_eq!(one("cpu-quota", "5000"), ["--cpu-quota cpu.max=5000 100000"]);
    assert_eq!(one("cpu-period", "5000"), ["--cpu-period cpu.max=max 5000"]);
    assert_eq!(one("cpu-burst", "50"), ["--cpu-burst cpu.max.burst=50"]);
    assert_eq!(one("cpu-idle", "1"), ["--cpu-idle cpu.idle=1"]);
    assert_eq!(one("cpuset-cpus", "0-1"), ["--cpuset-cpus cpuset.cpus=0-1"]);
    assert_eq!(one("cpuset-mems", "0"), ["--cpuset-mems cpuset.mems=0"]);
    assert_eq!(one("pids-limit", "0"), ["--pids-limit pids.max=0"]);
    assert_eq!(one("pids-limit", "-1"), ["--pids-limit pids.max=max"]);
    assert!(one("blkio-weight", "10").contains(&"--blkio-weight io.weight=default 1".to_owned()));
    let schema = |flag, text: &str| update(None, &[(flag, text.to_owned())], &now).unwrap().rdt;
    assert_eq!(schema("l3-cache-schema", "L3:0=f")[0].text, "L3:0=f");
    assert_eq!(schema("mem-bw-schema", "MB:0=9")[0].field, "--mem-bw-schema");
    let warned = update(None, &[("kernel-memory", "5m".to_owned())], &now).unwrap().warnings;
    assert_eq!(warned, ["--kernel-memory: cgroup2 has no such limit, ignored"]);
}

#[test]
fn half_of_cpu_max_stays() {
    let now = current("20000 50000", "max");
    assert_eq!(flags(&[("cpu-quota", "5000")], &now).unwrap(), ["--cpu-quota cpu.max=5000 50000"]);
    assert_eq!(flags(&[("cpu-quota", "-1")], &now).unwrap(), ["--cpu-quota cpu.max=max 50000"]);
    assert_eq!(flags(&[("cpu-period", "80000")], &now).unwrap(), ["--cpu-period cpu.max=20000 80000"]);
    let file = both(Some(r#"{"cpu": {"period": 80000}}"#), &[], &current("max 100000", "max")).unwrap();
    assert_eq!(file, ["linux.resources.cpu.period cpu.max=max 80000"]);
    assert_eq!(flags(&[("cpu-burst", "5")], &now).unwrap(), ["--cpu-burst cpu.max.burst=5"]);
}

#[test]
fn swap() {
    let now = current("max 100000", "1000");
    assert_eq!(flags(&[("memory-swap", "1500")], &now).unwrap(), ["--memory-swap memory.swap.max=500"]);
    assert_eq!(flags(&[("memory", "500")], &now).unwrap(), ["--memory memory.max=500"]);
    let both = flags(&[("memory", "500"), ("memory-swap", "700")], &now).unwrap();
    assert_eq!(both, ["--memory-swap memory.swap.max=200", "--memory memory.max=500"]);
    let unlimited = flags(&[("memory", "-1")], &now).unwrap();
    assert_eq!(unlimited, ["linux.resources.memory.swap memory.swap.max=max", "--memory memory.max=max"]);
    let text = flags(&[("memory-swap", "900")], &now).unwrap_err();
    assert_eq!(text, "invalid resources: --memory-swap: is less than the memory limit, which it includes");
    let text = flags(&[("memory-swap", "900")], &current("max 100000", "max")).unwrap_err();
    assert_eq!(text, "invalid resources: --memory-swap: needs a memory limit");
}

#[test]
fn documents() {
    let now = Current::default();
    let file = |json: &str| both(Some(json), &[], &now);
    // Device rules are nobody's business here, good or bad.
    assert_eq!(file(r#"{"devices": [{"allow": true, "access": "rwm"}], "pids": {}}"#).unwrap(), [""; 0]);
    assert_eq!(file(r#"{"devices": [7], "pids": {"limit": 3}}"#).unwrap(), ["linux.resources.pids.limit pids.max=3"]);
    assert_eq!(file(r#"{"pids": {"limit": null}, "cpu": {"quota": null}}"#).unwrap(), [""; 0]);
    assert_eq!(
        both(Some(r#"{"pids": {"limit": 3}, "memory": {"limit": 5}}"#), &[("pids-limit", "4")], &now).unwrap(),
        ["linux.resources.memory.limit memory.max=5", "--pids-limit pids.max=4"]
    );
    assert!(file("{").unwrap_err().starts_with("invalid resources: linux.resources: not valid JSON"));
    assert!(file("[]").unwrap_err().starts_with("invalid resources: linux.resources"));
    let text = file(r#"{"pids": {"limit": "x"}}"#).unwrap_err();
    assert!(text.starts_with("invalid resources: linux.resources.pids.limit: "), "{text}");
}

#[test]
fn faults_name_the_flag() {
    let now = Current::default();
    for (flag, text, message) in [
        ("memory", "x", "--memory: \"x\" is not an amount"),
        ("cpu-quota", "x", "--cpu-quota: \"x\" is not a number"),
        ("cpu-share", "-1", "--cpu-share: \"-1\" is not a number"),
        ("cpu-quota", "-2", "--cpu-quota: -2 is neither"),
        ("cpu-rt-period", "5", "--cpu-rt-period: cgroup2 has no real-time limits"),
        ("cpu-rt-runtime", "5", "--cpu-rt-runtime: cgroup2 has no real-time limits"),
        ("cpu-idle", "2", "--cpu-idle: 2 is neither"),
        ("cpuset-cpus", "x", "--cpuset-cpus: \"x\" is not"),
        ("pids-limit", "-2", "--pids-limit: -2 is neither"),
        ("blkio-weight", "9", "--blkio-weight: 9 is not between"),
        ("blkio-weight", "70000", "--blkio-weight: \"70000\" is not a number"),
        ("l3-cache-schema", "MB:0=9", "--l3-cache-schema: \"MB:0=9\" does not start"),
        ("mem-bw-schema", "MB:0", "--mem-bw-schema: \"MB:0\" is not a schema"),
    ] {
        let found = flags(&[(flag, text)], &now).unwrap_err();
        assert!(found.starts_with(&format!("invalid resources: {message}")), "{found}");
    }
    let found = both(Some(r#"{"pids": {"limit": -3}}"#), &[("memory", "y")], &now).unwrap_err();
    assert!(found.contains("--memory: ") && found.contains("; linux.resources.pids.limit: -3"), "{found}");
}
