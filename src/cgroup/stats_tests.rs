//! Tests of the parsers, on text as the kernel writes it.

use serde_json::json;

use super::*;

fn json_of(value: impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn cpu_time() {
    let text = "usage_usec 12\nuser_usec 7\nsystem_usec 5\nnr_periods 3\nnr_throttled 2\nthrottled_usec 9\nnr_bursts 0";
    let usage = json!({ "total": 12000, "kernel": 5000, "user": 7000 });
    let throttling = json!({ "periods": 3, "throttledPeriods": 2, "throttledTime": 9000 });
    assert_eq!(json_of(cpu(text)), json!({ "usage": usage, "throttling": throttling }));
    // Without the controller.
    let bare = json_of(cpu("usage_usec 12\nuser_usec 7\nsystem_usec 5"));
    assert_eq!(bare, json!({ "usage": usage, "throttling": {} }));
    assert_eq!(cpu("usage_usec 18446744073709551615").usage.total, Some(u64::MAX));
    assert_eq!(cpu("rubbish\nusage_usec -5\n"), Cpu::default());
}

#[test]
fn lists() {
    assert_eq!(list("0-3,7"), Some(vec![0, 1, 2, 3, 7]));
    assert_eq!(list(""), Some(vec![]));
    assert_eq!((list("x"), list("0-99999999999"), list("3-")), (None, None, None));
}

#[test]
fn numbers() {
    assert_eq!((limit("max"), limit("5\n"), limit("-1"), limit("")), (Some(u64::MAX), Some(5), None, None));
}

fn files(list: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
    move |name| list.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned())
}

#[test]
fn memory_of_all_kinds() {
    let read = files(&[
        ("memory.current", "100"),
        ("memory.max", "max"),
        ("memory.peak", "200"),
        ("memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1"),
        ("memory.stat", "anon 60\nfile 30\nkernel 8\nsock 2\nnr_odd x"),
        ("memory.swap.current", "11"),
        ("memory.swap.max", "50"),
        ("memory.swap.events", "high 0\nmax 3\nfail 0"),
    ]);
    let wanted = json!({
        "cache": 30,
        "usage": { "limit": u64::MAX, "usage": 100, "max": 200, "failcnt": 4 },
        "swap": { "limit": u64::MAX, "usage": 111, "failcnt": 3 },
        "kernel": { "usage": 8 },
        "kernelTCP": { "usage": 2 },
        "raw": { "anon": 60, "file": 30, "kernel": 8, "sock": 2 },
    });
    assert_eq!(json_of(memory(&read)), wanted);
    let read = files(&[("memory.current", "100"), ("memory.max", "300")]);
    assert_eq!(json_of(memory(&read)), json!({ "usage": { "limit": 300, "usage": 100 } }));
    assert_eq!(json_of(memory(&files(&[]))), json!({}));
}

#[test]
fn devices() {
    let text = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n253:7 rbytes=9\n(unknown) rbytes=1\n8:16";
    let entry = |major, minor, op, value| BlkioEntry { major, minor, op, value };
    let out = io(text);
    let bytes = [entry(8, 0, "Read", 1), entry(8, 0, "Write", 2), entry(8, 0, "Discard", 5), entry(253, 7, "Read", 9)];
    assert_eq!(out.io_service_bytes_recursive, bytes);
    assert_eq!(out.io_serviced_recursive, [entry(8, 0, "Read", 3), entry(8, 0, "Write", 4), entry(8, 0, "Discard", 6)]);
    assert_eq!(json_of(io("")), json!({}));
    let one = json!({ "ioServiceBytesRecursive": [{ "major": 8, "minor": 0, "op": "Read", "value": 1 }] });
    assert_eq!(json_of(io("8:0 rbytes=1")), one);
}

#[test]
fn pressure() {
    let text = "some avg10=1.50 avg60=0.00 avg300=99.99 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5";
    let found = psi(text).unwrap();
    assert_eq!((found.some.avg10, found.some.avg300, found.some.total, found.full.total), (1.5, 99.99, 12, 5));
    assert_eq!(psi("some avg10=0.00 avg60=0.00 avg300=0.00 total=1").unwrap().full, Stall::default());
    assert_eq!((psi(""), psi("some avg10=x avg60=0 avg300=0 total=1")), (None, None));
}

#[test]
fn the_whole() {
    let wanted = json!({
        "cpu": { "usage": {}, "throttling": {} }, "cpuset": {}, "memory": {}, "pids": {}, "blkio": {},
        "hugetlb": {}, "network_interfaces": null
    });
    assert_eq!(json_of(Stats::default()), wanted);
}
