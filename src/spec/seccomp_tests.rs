//! Tests of profiles: what their names become, and their faults.

use serde_json::{Value, json};

use super::*;

/// What a profile becomes on x86_64, or all that is wrong with it.
fn run(profile: &Value, annotations: &[(&str, &str)]) -> Result<Option<Filter>, String> {
    let mut faults = Faults::default();
    let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let cx = Context { bundle: Path::new("/b"), annotations: &annotations, native: Some(Arch::X86_64) };
    let parsed = parse::seccomp::<LinuxSeccomp>(&profile.to_string(), &mut faults);
    let filter = parsed.and_then(|seccomp| resolve(&seccomp, &cx, &mut faults));
    faults.into_error("x").map_or(Ok(filter), |e| Err(e.to_string()))
}

fn good(profile: &Value) -> Filter {
    run(profile, &[]).unwrap().unwrap()
}

fn fault(profile: &Value) -> String {
    run(profile, &[]).unwrap_err()
}

/// The profile itself, before it is compiled.
fn resolved(profile: &Value) -> Profile {
    let mut faults = Faults::default();
    let cx = Context { bundle: Path::new("/b"), annotations: &BTreeMap::new(), native: Some(Arch::X86_64) };
    let parsed = parse::seccomp::<LinuxSeccomp>(&profile.to_string(), &mut faults).unwrap();
    let profile = super::profile(&parsed, &cx, &mut faults);
    assert!(faults.into_error("x").is_none());
    profile
}

fn allowing(rules: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules })
}

fn asking(names: &[&str]) -> Value {
    let mut profile = allowing(json!([{ "names": names, "action": "SCMP_ACT_NOTIFY" }]));
    profile["listenerPath"] = json!("/run/agent");
    profile
}

#[test]
fn actions_and_their_data() {
    let of = |action: &str, data: Value| {
        let rule = json!({ "names": ["getppid"], "action": action, "errnoRet": data });
        resolved(&allowing(json!([rule]))).rules[0].verdict
    };
    let none = Value::Null;
    assert_eq!(of("SCMP_ACT_ALLOW", none.clone()), 0x7fff_0000);
    assert_eq!(of("SCMP_ACT_LOG", none.clone()), 0x7ffc_0000);
    assert_eq!(of("SCMP_ACT_TRAP", none.clone()), 0x0003_0000);
    assert_eq!(of("SCMP_ACT_KILL", none.clone()), 0);
    assert_eq!(of("SCMP_ACT_KILL_THREAD", none.clone()), 0);
    assert_eq!(of("SCMP_ACT_KILL_PROCESS", none.clone()), 0x8000_0000);
    assert_eq!(of("SCMP_ACT_NOTIFY", none.clone()), 0x7fc0_0000);
    assert_eq!(of("SCMP_ACT_ERRNO", none.clone()), 0x0005_0001);
    assert_eq!(of("SCMP_ACT_ERRNO", json!(0)), 0x0005_0000);
    assert_eq!(of("SCMP_ACT_ERRNO", json!(4095)), 0x0005_0fff);
    assert_eq!(of("SCMP_ACT_TRACE", none), 0x7ff0_0001);
    assert_eq!(of("SCMP_ACT_TRACE", json!(65535)), 0x7ff0_ffff);
    let default = json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38 });
    assert_eq!(resolved(&default).default, 0x0005_0026);
    // Every name in the list that `features` shows is one that is understood.
    for (name, ..) in ACTIONS {
        of(name, Value::Null);
    }
}

#[test]
fn conditions_by_operator() {
    let all: Vec<Value> =
        OPERATORS.iter().map(|(op, ..)| json!({ "index": 1, "value": 6, "valueTwo": 2, "op": op })).collect();
    let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_LOG", "args": all });
    let conditions = resolved(&allowing(json!([rule]))).rules[0].conditions.clone();
    let compares: Vec<_> = conditions.iter().map(|c| (c.index, c.compare, c.value)).collect();
    let plain = |compare| (1, compare, 6);
    let wanted = [
        plain(Compare::Equal),
        plain(Compare::GreaterOrEqual),
        plain(Compare::Greater),
        plain(Compare::LessOrEqual),
        plain(Compare::Less),
        (1, Compare::MaskedEqual(6), 2),
        plain(Compare::NotEqual),
    ];
    assert_eq!(compares, wanted);
}

#[test]
fn architectures_and_names() {
    let mut profile = allowing(json!([{ "names": ["getppid", "no_such_call", "mmap2"], "action": "SCMP_ACT_LOG" }]));
    profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64", "SCMP_ARCH_MIPS"]);
    let resolved = resolved(&profile);
    assert_eq!(resolved.arches, [Arch::X86_64, Arch::X86, Arch::Aarch64]);
    let names: Vec<_> = resolved.rules[0].calls.iter().map(|c| c.name()).collect();
    assert_eq!(names, ["getppid", "mmap2"]);
    let strict = run(&profile, &[(FAIL_UNKNOWN, "1")]).unwrap_err();
    assert_eq!(strict, "x: linux.seccomp.syscalls[0].names[1]: unknown system call \"no_such_call\"");
    for lenient in ["0", "false"] {
        run(&profile, &[(FAIL_UNKNOWN, lenient)]).unwrap();
    }
}

#[test]
fn flags_and_their_default() {
    let flags = |flags: Value, mut profile: Value| {
        profile["flags"] = flags;
        good(&profile).setup.flags
    };
    let plain = || allowing(json!([]));
    assert_eq!(good(&plain()).setup.flags, SPEC_ALLOW, "none named at all");
    assert_eq!(flags(json!([]), plain()), 0);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]), plain()), 3);
    // Only with a listener, where the kernel knows it: elsewhere it refuses it.
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), plain()), 0);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), asking(&["mkdir"])), 1 << 5);
    // With a listener TSYNC's failure must be an errno, or it cannot be had.
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_TSYNC"]), asking(&["mkdir"])), 1 | 1 << 4);
}

#[test]
fn who_is_asked() {
    let listener = good(&asking(&["mkdir"])).setup.listener.unwrap();
    let wanted = Listener { path: "/run/agent".into(), metadata: String::new(), may_close: true };
    assert_eq!(listener, wanted);
    let mut profile = asking(&["mkdir"]);
    profile["listenerPath"] = json!("agent");
    profile["listenerMetadata"] = json!("m");
    let listener = good(&profile).setup.listener.unwrap();
    assert_eq!((listener.path.to_str(), listener.metadata.as_str()), (Some("/b/agent"), "m"));
    // An annotation where the config says nothing; nobody where nothing is asked.
    profile.as_object_mut().unwrap().remove("listenerPath");
    let by_annotation = run(&profile, &[(RECEIVER, "/run/other")]).unwrap().unwrap().setup.listener.unwrap();
    assert_eq!(by_annotation.path.to_str(), Some("/run/other"));
    let mut silent = allowing(json!([]));
    silent["listenerPath"] = json!("/run/agent");
    assert_eq!(good(&silent).setup.listener, None);
}

/// Init closes its own copy unless that could be its end.
#[test]
fn whether_close_is_deadly() {
    let may_close = |default: &str, rules: Value| {
        let mut profile = asking(&["mkdir"]);
        profile["defaultAction"] = json!(default);
        let list = profile["syscalls"].as_array_mut().unwrap();
        list.push(json!({ "names": ["read"], "action": "SCMP_ACT_ALLOW" }));
        list.extend(rules.as_array().unwrap().clone());
        good(&profile).setup.listener.unwrap().may_close
    };
    let rule = |action: &str| json!([{ "names": ["close"], "action": action }]);
    assert!(may_close("SCMP_ACT_ERRNO", json!([])) && may_close("SCMP_ACT_ALLOW", rule("SCMP_ACT_NOTIFY")));
    assert!(!may_close("SCMP_ACT_KILL", json!([])) && !may_close("SCMP_ACT_ALLOW", rule("SCMP_ACT_TRAP")));
    assert!(may_close("SCMP_ACT_KILL_PROCESS", rule("SCMP_ACT_ALLOW")));
    let args = json!([{ "index": 0, "value": 3, "op": "SCMP_CMP_EQ" }]);
    let sometimes = json!([{ "names": ["close"], "action": "SCMP_ACT_ALLOW", "args": args }]);
    assert!(!may_close("SCMP_ACT_KILL_PROCESS", sometimes));
}

#[test]
fn faults_have_paths() {
    let rule = |rule: Value| fault(&allowing(json!([{ "names": ["getppid"], "action": "SCMP_ACT_LOG" }, rule])));
    let at = "x: linux.seccomp.syscalls[1]";
    assert_eq!(
        rule(json!({ "names": [], "action": "SCMP_ACT_LOG" })),
        format!("{at}.names: must have at least one element")
    );
    assert_eq!(
        rule(json!({ "names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 1 })),
        format!("{at}.errnoRet: SCMP_ACT_KILL returns no errno")
    );
    assert_eq!(
        rule(json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096 })),
        format!("{at}.errnoRet: 4096 is larger than 4095")
    );
    let arg = json!({ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" });
    assert_eq!(
        rule(json!({ "names": ["read"], "action": "SCMP_ACT_LOG", "args": [arg] })),
        format!("{at}.args[0].index: 6 is more than 5, the last argument")
    );
    assert!(rule(json!({ "names": ["read"], "action": "SCMP_ACT_NONE" })).contains("syscalls[1].action"));
    assert!(fault(&json!({ "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_LOG" }] })).contains("defaultAction"));
    let twice = fault(&json!({ "defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1, "flags": ["X"] }));
    assert!(twice.contains("linux.seccomp.flags[0]"), "{twice}");
}

#[test]
fn faults_about_who_is_asked() {
    let mut profile = asking(&["mkdir"]);
    profile.as_object_mut().unwrap().remove("listenerPath");
    assert_eq!(fault(&profile), "x: linux.seccomp.listenerPath: missing, and a rule has SCMP_ACT_NOTIFY");
    let mut lonely = allowing(json!([]));
    lonely["listenerMetadata"] = json!("m");
    assert_eq!(fault(&lonely), "x: linux.seccomp.listenerMetadata: needs a listenerPath");
    assert!(
        fault(&asking(&["mkdir", "write"]))
            .contains("syscalls[0].action: SCMP_ACT_NOTIFY cannot be used for the write")
    );
    let mut default = asking(&["mkdir"]);
    default["defaultAction"] = json!("SCMP_ACT_NOTIFY");
    assert!(fault(&default).contains("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default"));
    let mut deaf = asking(&["mkdir"]);
    deaf["defaultAction"] = json!("SCMP_ACT_ERRNO");
    assert!(fault(&deaf).contains("with SCMP_ACT_NOTIFY read must be allowed"));
    run(&asking(&["mkdir", "read"]), &[]).unwrap();
    assert!(run(&asking(&["mkdir"]), &[(RECEIVER, "x")]).is_ok(), "the config's own path comes first");
}

#[test]
fn programs_of_other_architectures() {
    let profile = allowing(json!([{ "names": ["getppid"], "action": "SCMP_ACT_LOG" }])).to_string();
    for arch in Arch::ALL {
        assert_eq!(program(&profile, arch, true).is_ok(), crate::seccomp::compile::supports(arch), "{}", arch.name());
    }
    assert!(program("{", Arch::X86_64, true).is_err() && program("[]", Arch::X86_64, true).is_err());
    let unknown = Context { bundle: Path::new("/"), annotations: &BTreeMap::new(), native: None };
    let mut faults = Faults::default();
    let parsed = parse::seccomp::<LinuxSeccomp>(&profile, &mut faults).unwrap();
    assert_eq!(resolve(&parsed, &unknown, &mut faults), None);
    assert!(faults.into_error("x").unwrap().to_string().contains("not supported on this architecture"));
}
