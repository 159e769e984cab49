use super::*;

fn setting(file: &str, value: &str) -> CgroupSetting {
    let controller = file.split('.').next().unwrap().to_owned();
    CgroupSetting { field: format!("f.{file}"), controller, file: file.to_owned(), value: value.to_owned() }
}

/// `NAME=VALUE` of each, numbers and texts plain.
fn show(properties: &[Property]) -> String {
    fn value(v: &Value) -> String {
        match v {
            Value::U64(MAX) => "max".to_owned(),
            Value::U64(n) => n.to_string(),
            Value::Byte(n) => n.to_string(),
            Value::Str(t) => t.clone(),
            Value::Array(_, list) | Value::Struct(list) => list.iter().map(value).collect::<Vec<_>>().join(" "),
            other => format!("{other:?}"),
        }
    }
    properties.iter().map(|p| format!("{}={}", p.name, value(&p.value))).collect::<Vec<_>>().join("; ")
}

#[test]
fn settings_become_properties() {
    for (file, given, wanted) in [
        ("memory.max", "1048576", "MemoryMax=1048576"),
        ("memory.max", "max", "MemoryMax=max"),
        ("memory.max", "64M", "MemoryMax=67108864"),
        ("memory.max", "0", "MemoryMax=1"),
        ("memory.low", "0", "MemoryLow=0"),
        ("memory.min", "5", "MemoryMin=5"),
        ("memory.high", "5k", "MemoryHigh=5120"),
        ("memory.swap.max", "0", "MemorySwapMax=0"),
        ("memory.max", "lots", ""),
        ("memory.max", "9999999999999999999999", ""),
        ("pids.max", "20", "TasksMax=20"),
        ("pids.max", "max", "TasksMax=max"),
        ("pids.max", "0", "TasksMax=1"),
        ("cpu.weight", "79", "CPUWeight=79"),
        ("cpu.weight", "99999", ""),
        ("cpu.idle", "1", "CPUWeight=0"),
        ("cpu.idle", "0", "CPUWeight=max"),
        ("cpu.max", "50000 100000", "CPUQuotaPerSecUSec=500000; CPUQuotaPeriodUSec=100000"),
        ("cpu.max", "50000", "CPUQuotaPerSecUSec=500000; CPUQuotaPeriodUSec=100000"),
        ("cpu.max", "12345 100000", "CPUQuotaPerSecUSec=130000; CPUQuotaPeriodUSec=100000"),
        ("cpu.max", "max 50000", "CPUQuotaPerSecUSec=max; CPUQuotaPeriodUSec=50000"),
        ("cpu.max", "5 0", ""),
        ("cpu.max", "18446744073709551615 1", ""),
        ("cpuset.cpus", "0-3,9", "AllowedCPUs=15 2"),
        ("cpuset.cpus", "", "AllowedCPUs="),
        ("cpuset.mems", "0", "AllowedMemoryNodes=1"),
        ("cpuset.cpus", "x", ""),
        ("io.weight", "default 500", "IOWeight=500"),
        ("io.weight", "500", "IOWeight=500"),
        ("io.weight", "8:16 500", "IODeviceWeight=/dev/block/8:16 500"),
        ("io.weight", "8:16 default", ""),
        ("io.max", "8:0 rbps=5 wiops=max", "IOReadBandwidthMax=/dev/block/8:0 5; IOWriteIOPSMax=/dev/block/8:0 max"),
        ("io.max", "nonsense rbps=5", ""),
        ("hugetlb.2MB.max", "0", ""),
        ("memory.oom.group", "1", ""),
    ] {
        assert_eq!(show(&from_settings(&[setting(file, given)], 262)), wanted, "{file} {given}");
    }
}

#[test]
fn old_versions_are_not_told_what_they_do_not_know() {
    let settings = [
        setting("cpu.max", "50000 100000"),
        setting("cpu.idle", "1"),
        setting("cpuset.cpus", "0"),
        setting("memory.zswap.max", "0"),
        setting("memory.oom.group", "1"),
    ];
    assert_eq!(show(&from_settings(&settings, 239)), "CPUQuotaPerSecUSec=500000");
    assert_eq!(oom_policy(&settings, 252), None);
    assert_eq!(show(&oom_policy(&settings, 253).into_iter().collect::<Vec<_>>()), "OOMPolicy=kill");
    assert_eq!(from_settings(&settings, 239)[0].field, "f.cpu.max");
}

#[test]
fn both_sides_agree() {
    for (file, given, wanted) in [
        ("cpu.max", "50000 100000", "50000 100000"),
        ("cpu.max", "12345 100000", "13000 100000"),
        ("cpu.max", "10000 33333", "10333 33333"),
        ("cpu.max", "12345", "12500 50000"),
        ("cpu.max", "max 1000", "max 1000"),
        ("cpu.max", "rubbish", "rubbish"),
        ("pids.max", "0", "1"),
        ("pids.max", "5", "5"),
        ("memory.max", "0", "0"),
    ] {
        let mut settings = [setting(file, given)];
        agree(&mut settings, Some(50_000));
        assert_eq!(settings[0].value, wanted, "{file} {given}");
        // Once agreed, always agreed.
        agree(&mut settings, Some(50_000));
        assert_eq!(settings[0].value, wanted, "{file} {given}");
    }
}

#[test]
fn annotations() {
    for (name, text, wanted) in [
        ("CollectMode", "'inactive-or-failed'", "CollectMode=inactive-or-failed"),
        ("TimeoutStopUSec", "uint64 5", "TimeoutStopUSec=5"),
        ("TimeoutStopSec", "5", "TimeoutStopUSec=5000000"),
        ("TimeoutStopSec", "1.5", "TimeoutStopUSec=1500000"),
        ("TimeoutStopSec", "uint64 2", "TimeoutStopUSec=2000000"),
        ("After", "['a.service', 'b.service']", "After=a.service b.service"),
        ("KillSignal", "15", "KillSignal=I32(15)"),
    ] {
        assert_eq!(show(&[from_annotation(name, text).unwrap()]), wanted, "{name} {text}");
    }
    for (name, text) in [
        ("Ab", "5"),
        ("", "5"),
        ("Foo2", "5"),
        ("Foo Bar", "5"),
        ("Sl\u{131}ce", "5"),
        ("Slice", "'x.slice'"),
        ("PIDs", "[1]"),
        ("Foo", "bar"),
        ("TimeoutStopSec", "'5'"),
        ("TimeoutStopSec", "-1"),
        ("TimeoutStopSec", "uint64 18446744073709551615"),
        ("TimeoutStopSec", "nan"),
    ] {
        assert!(from_annotation(name, text).is_err(), "{name} {text}");
    }
    let map = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let good = from_annotations(&map(&[("other", "x"), ("org.systemd.property.KillSignal", "9")])).unwrap();
    assert_eq!(
        (show(&good).as_str(), good[0].field.as_str()),
        ("KillSignal=I32(9)", "annotations[\"org.systemd.property.KillSignal\"]",)
    );
    let bad = from_annotations(&map(&[("org.systemd.property.A", "1"), ("org.systemd.property.Bcd", "x")]));
    let e = bad.unwrap_err().to_string();
    assert!(e.contains("property.A\"]: not the name") && e.contains("property.Bcd\"]: \"x\" is no value"), "{e}");
}

#[test]
fn device_lists() {
    let rule = |allow, kind, major, minor, access| DeviceRule { allow, kind, major, minor, access };
    let deny_all = rule(false, None, None, None, 7);
    let char = Some(DeviceType::Char);
    let listed = show(&from_devices(&[
        deny_all,
        rule(true, char, Some(10), Some(229), 3),
        rule(true, Some(DeviceType::Block), Some(8), None, 7),
        rule(true, None, Some(4), Some(1), 1),
    ]));
    assert!(listed.starts_with("DevicePolicy=strict; DeviceAllow="), "{listed}");
    for part in
        ["/dev/char/10:229 rw", "block-8 rw", "/dev/char/4:1 r", "/dev/block/4:1 r", "/dev/char/1:3 rw", "char-* m"]
    {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    // All allowed, one of all denied, and a minor number of any major.
    let all = rule(true, None, None, None, 7);
    assert_eq!(show(&from_devices(&[all])), "DevicePolicy=auto");
    assert_eq!(show(&from_devices(&[all, rule(false, char, Some(1), Some(1), 7)])), "DevicePolicy=auto");
    assert_eq!(show(&from_devices(&[rule(true, char, None, Some(1), 7)])), "DevicePolicy=auto");
}
