//! `linux.netDevices`: the host's network devices that become the container's.

use std::collections::HashMap;

use oci_spec::runtime::LinuxNetDevice;

use super::faults::{Faults, keyed};
use super::plan::{NamespaceKind, Namespaces, NetDevice};

/// `IFNAMSIZ` without the NUL byte at the end.
const NAME_MAX: usize = 15;

/// Resolves `linux.netDevices`, sorted by the names on the host.
pub(crate) fn resolve(
    given: &HashMap<String, LinuxNetDevice>,
    namespaces: &Namespaces,
    faults: &mut Faults,
) -> Vec<NetDevice> {
    if !given.is_empty() && !namespaces.has(NamespaceKind::Network) {
        faults.add("linux.netDevices", "needs a network namespace");
    }
    let mut entries: Vec<_> = given.iter().collect();
    entries.sort_by_key(|(host, _)| *host);
    let mut out: Vec<NetDevice> = Vec::with_capacity(entries.len());
    for (host, device) in entries {
        let device =
            NetDevice { field: keyed("linux.netDevices", host), host: host.clone(), name: device.name().clone() };
        if let Err(why) = check(host, false) {
            faults.add(&device.field, format!("not the name of a network device: {why}"));
        }
        if let Some(name) = &device.name
            && let Err(why) = check(name, true)
        {
            faults.add(device.name_field(), format!("{name:?} is no name for a network device: {why}"));
        }
        let same = |other: &&NetDevice| other.inside() == device.inside() && !device.is_template();
        if let Some(other) = out.iter().find(same) {
            let text = format!("{:?} is the name of {:?} in the container as well", device.inside(), other.host);
            faults.add(device.name_field(), text);
        }
        out.push(device);
    }
    out
}

/// As the kernel's dev_valid_name(), and its rule for names that it numbers.
fn check(name: &str, template: bool) -> Result<(), String> {
    // White space by the kernel's table, in which the no-break space of Latin 1 is some.
    let forbidden = |b: &u8| matches!(b, b'/' | b':' | b' ' | 0x09..=0x0d | 0xa0 | 0);
    match name {
        "" => return Err("it is empty".to_owned()),
        "." | ".." => return Err("it is a directory".to_owned()),
        _ if name.len() > NAME_MAX => return Err(format!("longer than {NAME_MAX} bytes")),
        _ if name.bytes().any(|b| forbidden(&b)) => {
            return Err("it has a slash, a colon, white space or a NUL byte in it".to_owned());
        }
        _ => {}
    }
    match name.split_once('%') {
        None => Ok(()),
        Some((_, rest)) if template && rest.starts_with('d') && !rest.contains('%') => Ok(()),
        Some(_) if template => Err("a % must be that of one %d, for which the kernel puts a number".to_owned()),
        Some(_) => Err("no device has a % in its name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, new: u64) -> (Vec<NetDevice>, String) {
        let namespaces = Namespaces { new, join: Vec::new() };
        let mut faults = Faults::default();
        let out = resolve(&serde_json::from_str(text).unwrap(), &namespaces, &mut faults);
        (out, faults.into_error("x").map(|e| e.to_string()).unwrap_or_default())
    }

    fn fault(text: &str) -> String {
        run(text, NamespaceKind::Network.clone_flag()).1
    }

    #[test]
    fn names_inside() {
        let text = r#"{"b": {"name": "a"}, "a": {"name": "b"}, "c": {}, "d": {"name": "e%d"}, "f": {"name": "e%d"}}"#;
        let (out, fault) = run(text, NamespaceKind::Network.clone_flag());
        assert_eq!(fault, "");
        let names: Vec<_> = out.iter().map(|d| (d.host.as_str(), d.inside())).collect();
        assert_eq!(names, [("a", "b"), ("b", "a"), ("c", "c"), ("d", "e%d"), ("f", "e%d")]);
    }

    #[test]
    fn names_that_no_device_has() {
        let long = "x".repeat(16);
        for name in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\0", "a%", "a%s", "%d%d", "à", &long] {
            let inside = fault(&serde_json::json!({"e": {"name": name}}).to_string());
            assert!(
                inside
                    .starts_with(&format!("x: linux.netDevices[\"e\"].name: {name:?}").replace(char::is_control, " ")),
                "{inside}"
            );
            let host = fault(&serde_json::json!({name: {}}).to_string());
            assert!(host.contains("]: not the name of a network device: "), "{host}");
        }
        for name in ["eth0.1", "é", "%d", "a%db", &"x".repeat(15)] {
            assert_eq!(fault(&serde_json::json!({"e": {"name": name}}).to_string()), "", "{name}");
        }
        assert!(fault(r#"{"e%d": {}}"#).contains("no device has a %"));
    }

    #[test]
    fn each_name_once() {
        let two = fault(r#"{"a": {"name": "c"}, "b": {"name": "c"}}"#);
        assert_eq!(two, "x: linux.netDevices[\"b\"].name: \"c\" is the name of \"a\" in the container as well");
        let kept = fault(r#"{"a": {"name": "b"}, "b": {}}"#);
        assert_eq!(kept, "x: linux.netDevices[\"b\"]: \"b\" is the name of \"a\" in the container as well");
    }

    #[test]
    fn a_namespace_to_go_to() {
        assert_eq!(run(r#"{"a": {}}"#, 0).1, "x: linux.netDevices: needs a network namespace");
        assert_eq!(run("{}", 0).1, "");
    }
}
