//! `events`: statistics in the shape readers know, once or until the container ends.

use std::time::Duration;

use runtime_tests::command::wait_for;
use runtime_tests::{Case, Value, host, json, leaks, require};

/// `events --stats`, taken apart.
#[track_caller]
fn stats(c: &Case) -> Value {
    let out = c.orlop(&["events", "--stats", &c.id]).go().ok();
    assert_eq!(out.stdout.lines().count(), 1, "one line: {}", out.stdout);
    assert_eq!(out.stderr, "");
    let event = out.json();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(c.id)));
    event["data"].clone()
}

fn lines(text: &str) -> Vec<Value> {
    // The last line may not be whole yet.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// No number is negative, and none has a fraction but the percentages of PSI.
fn check_numbers(at: &str, value: &Value) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| check_numbers(&format!("{at}.{key}"), value)),
        Value::Array(list) => list.iter().for_each(|value| check_numbers(at, value)),
        Value::Number(n) => assert!(n.is_u64() || at.contains(".avg"), "{at}: {n}"),
        _ => {}
    }
}

#[test]
fn stats_once() {
    require!(host::has_cgroup2());
    let c = Case::started();
    let data = stats(&c);
    for key in ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"] {
        assert!(data.get(key).is_some(), "{key}: {data}");
    }
    check_numbers("data", &data);
    let usage = &data["cpu"]["usage"];
    let [total, kernel, user] = ["total", "kernel", "user"].map(|k| usage[k].as_u64().unwrap());
    assert!(total > 0 && total < 10_000_000_000 && total.is_multiple_of(1000), "{usage}");
    assert!(kernel + user <= total + 2_000, "{usage}");
    // Paused and only created containers have statistics too.
    c.verb("pause").ok();
    stats(&c);
    c.delete();
    c.create().ok();
    stats(&c);
    c.delete();
}

#[test]
fn stopped_or_unknown() {
    require!(host::has_cgroup2());
    let c = Case::new();
    c.start();
    c.wait_status("stopped");
    let text = format!("container with id {} is not running", c.id);
    c.orlop(&["events", "--stats", &c.id]).go().fails_with(&[&text]);
    c.orlop(&["events", &c.id]).go().fails_with(&[&text]);
    c.delete();
    c.orlop(&["events", "--stats", &c.id]).go().fails_with(&["container does not exist"]);
}

#[test]
fn bad_intervals() {
    let c = Case::new();
    for text in ["", "5", "soon", "-1s", "0s"] {
        c.orlop(&["events", &format!("--interval={text}"), &c.id]).go().fails_with(&["--interval"]);
    }
}

#[test]
fn without_a_cgroup() {
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]).write();
    c.orlop(&["--cgroup-manager=disabled", "create", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
    c.orlop(&["events", "--stats", &c.id]).go().fails_with(&["the container has no cgroup", "disabled"]);
    c.delete();
}

#[test]
fn a_stream_until_the_end() {
    require!(host::has_cgroup2());
    let c = Case::started();
    let running = c.orlop(&["events", "--interval=100ms", &c.id]).spawn();
    wait_for("three lines", || (lines(&running.stdout_so_far()).len() >= 3).then_some(()));
    c.kill("KILL").ok();
    let out = running.wait().ok();
    for event in lines(&out.stdout) {
        assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(c.id)));
    }
    c.delete();
    // A long interval does not delay the end, nor the first line; delete is not held up.
    let c = Case::started();
    let running = c.orlop(&["events", "--interval", "1h", &c.id]).spawn();
    wait_for("a line", || (lines(&running.stdout_so_far()).len() == 1).then_some(()));
    c.delete();
    assert_eq!(lines(&running.wait().ok().stdout).len(), 1);
}

#[test]
fn a_reader_that_goes_away() {
    require!(host::has_cgroup2());
    let c = Case::started();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    c.orlop(&["events", "--interval=10ms", &c.id]).stdout(writer).limit(Duration::from_secs(5)).go().ok();
    c.delete();
}

#[test]
fn cpu_time_grows() {
    require!(host::has_cgroup2());
    let mut c = Case::new();
    c.sh("while :; do :; done");
    c.start();
    let total = || stats(&c)["cpu"]["usage"]["total"].as_u64().unwrap();
    let before = total();
    wait_for("CPU time", || (total() > before + 50_000_000).then_some(()));
    c.delete();
}

// ---- controllers

#[test]
fn hugetlb() {
    require!(host::controller("hugetlb"));
    let c = Case::started();
    assert_eq!(stats(&c)["hugetlb"]["2MB"], json!({ "usage": 0, "failcnt": 0 }));
    c.delete();
}

#[test]
fn pids() {
    require!(host::controller("pids"));
    let mut c = Case::started();
    assert_eq!(stats(&c)["pids"], json!({ "current": 1, "limit": u64::MAX }));
    c.delete();
    c.set("/linux/resources/pids/limit", 7);
    c.start();
    assert_eq!(stats(&c)["pids"], json!({ "current": 1, "limit": 7 }));
    c.delete();
}

#[test]
fn memory() {
    require!(host::controller("memory"));
    let mut c = Case::started();
    assert_eq!(stats(&c)["memory"]["usage"]["limit"], json!(u64::MAX));
    c.delete();
    c.set("/linux/resources/memory/limit", 64 << 20);
    c.start();
    let memory = &stats(&c)["memory"];
    let usage = &memory["usage"];
    assert_eq!(usage["limit"], json!(64 << 20));
    assert!(usage["usage"].as_u64().unwrap() > 0 && usage["failcnt"] == 0, "{usage}");
    assert!(memory["raw"]["anon"].is_u64() && memory["cache"].is_u64(), "{memory}");
    c.delete();
}

/// Numbers of the same things, taken from the cgroup's own files.
#[test]
fn as_the_files_have_it() {
    for controller in ["cpu", "cpuset", "memory", "pids", "io"] {
        require!(host::controller(controller));
    }
    let mut c = Case::new();
    let limit = 64u64 << 20;
    c.set("/linux/resources/memory", json!({ "limit": limit, "swap": 2 * limit }))
        .set("/linux/resources/pids/limit", 9);
    c.set("/linux/resources/cpu", json!({ "quota": 50_000, "period": 100_000, "cpus": "0" }));
    c.args(&["/bin/probe", "burn", "2"]);
    c.start();
    let throttled = || stats(&c)["cpu"]["throttling"]["throttledPeriods"].as_u64().unwrap();
    wait_for("throttling", || (throttled() > 0).then_some(()));
    // What stands still counts nothing.
    c.verb("pause").ok();
    let dir = leaks::cgroups(&c.id).pop().unwrap();
    let file = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap().trim().to_owned();
    let number = |name: &str| file(name).parse::<u64>().unwrap();
    let line = |name: &str, key: &str| -> u64 {
        let text = file(name);
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name}: {key}")).parse().unwrap()
    };
    // The period's timer runs out once more after the last process has stopped.
    let mut before = String::new();
    wait_for("CPU figures that stand still", || {
        std::thread::sleep(std::time::Duration::from_millis(250));
        let now = file("cpu.stat");
        (now == std::mem::replace(&mut before, now.clone())).then_some(())
    });
    let data = stats(&c);
    let micros = |key: &str| json!(line("cpu.stat", key) * 1000);
    let (cpu, memory) = (&data["cpu"], &data["memory"]);
    assert_eq!((&cpu["usage"]["total"], &cpu["usage"]["user"]), (&micros("usage_usec"), &micros("user_usec")));
    assert_eq!(cpu["throttling"]["periods"], line("cpu.stat", "nr_periods"));
    assert_eq!(cpu["throttling"]["throttledPeriods"], line("cpu.stat", "nr_throttled"));
    assert_eq!(cpu["throttling"]["throttledTime"], micros("throttled_usec"));
    assert_eq!((&data["cpuset"]["cpus"], file("cpuset.cpus.effective").as_str()), (&json!([0]), "0"));
    assert_eq!(data["pids"], json!({ "current": number("pids.current"), "limit": 9 }));
    assert_eq!(memory["usage"]["limit"], limit);
    assert_eq!(memory["usage"]["usage"], number("memory.current"));
    assert_eq!(memory["usage"]["max"], number("memory.peak"));
    assert_eq!(memory["usage"]["failcnt"], line("memory.events", "max"));
    assert_eq!(memory["swap"]["limit"], limit + number("memory.swap.max"));
    assert_eq!(memory["swap"]["usage"], number("memory.current") + number("memory.swap.current"));
    assert_eq!(memory["cache"], line("memory.stat", "file"));
    assert_eq!(memory["kernel"]["usage"], line("memory.stat", "kernel"));
    assert_eq!(memory["raw"].as_object().unwrap().len(), file("memory.stat").lines().count());
    assert_eq!(memory["raw"]["anon"], line("memory.stat", "anon"));
    assert_eq!(memory.get("oom"), None);
    for psi in [&cpu["psi"], &memory["psi"], &data["blkio"]["psi"]] {
        assert!(psi["some"]["avg10"].is_number() && psi["full"]["total"].is_u64(), "{data}");
    }
    c.delete();
}

#[test]
fn oom_is_told() {
    require!(host::controller("memory"));
    let mut c = Case::new();
    c.set("/linux/resources/memory", json!({ "limit": 32 << 20, "swap": 32 << 20 }));
    // The glutton dies, its parent does not.
    c.sh("while :; do [ -e /tmp/go ] && break; sleep 0.05; done
          sh -c 'x=0123456789; while :; do x=$x$x; done'; sleep 1000");
    c.mount("/tmp", "tmpfs", "tmpfs", &[]);
    c.start();
    let running = c.orlop(&["events", "--interval", "1h", &c.id]).spawn();
    wait_for("the first line", || (lines(&running.stdout_so_far()).len() == 1).then_some(()));
    c.exec(&[], &["/bin/touch", "/tmp/go"]).go().ok();
    let told = || lines(&running.stdout_so_far()).into_iter().find(|event| event["type"] == "oom");
    assert_eq!(wait_for("word of the oom", told), json!({ "type": "oom", "id": c.id }));
    assert_eq!(c.status(), "running");
    c.delete();
    running.wait().ok();
}

#[test]
fn oom_of_init_is_told_too() {
    require!(host::controller("memory"));
    let mut c = Case::new();
    c.set("/linux/resources/memory", json!({ "limit": 32 << 20, "swap": 32 << 20 }));
    c.sh("x=0123456789; while :; do x=$x$x; done");
    c.create().ok();
    let running = c.orlop(&["events", "--interval", "1h", &c.id]).spawn();
    wait_for("the first line", || (lines(&running.stdout_so_far()).len() == 1).then_some(()));
    c.verb("start").ok();
    let out = running.wait().ok();
    assert!(lines(&out.stdout).iter().any(|event| event["type"] == "oom"), "{}", out.stdout);
    c.delete();
}
