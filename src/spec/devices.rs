//! `linux.devices` with the default devices, and the rules of `linux.resources.devices`.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::faults::Faults;
use super::mounts::clean;
use super::plan::{Device, DeviceRule, DeviceType};

/// The devices every container gets; `/dev/console` and `/dev/ptmx` are made elsewhere.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The mode of a device that asks for none.
const DEFAULT_MODE: u32 = 0o666;

/// The largest numbers the kernel's `dev_t` holds.
const MAJOR_MAX: i64 = (1 << 12) - 1;
const MINOR_MAX: i64 = (1 << 20) - 1;

/// The default devices and the config's, one per path; the config wins.
pub(crate) fn resolve(devices: &[LinuxDevice], faults: &mut Faults) -> Vec<Device> {
    let mut out: Vec<Device> = DEFAULTS.iter().map(|(path, major, minor)| default(path, *major, *minor)).collect();
    for (i, device) in devices.iter().enumerate() {
        let Some(device) = resolve_one(i, device, faults) else { continue };
        match out.iter_mut().find(|d| d.path == device.path) {
            Some(same) => *same = device,
            None => out.push(device),
        }
    }
    out
}

fn default(path: &str, major: u32, minor: u32) -> Device {
    let path = path.to_owned();
    Device { index: None, path, kind: DeviceType::Char, major, minor, mode: DEFAULT_MODE, uid: 0, gid: 0 }
}

fn resolve_one(index: usize, device: &LinuxDevice, faults: &mut Faults) -> Option<Device> {
    let at = format!("linux.devices[{index}]");
    let path = path(device, &format!("{at}.path"), faults);
    let kind = kind(device.typ());
    let (major, minor) = match kind {
        Some(DeviceType::Fifo) => (0, 0),
        Some(_) => numbers(device, &at, faults),
        None => {
            faults.add(format!("{at}.type"), "\"a\" is not a type of device node");
            (0, 0)
        }
    };
    Some(Device {
        index: Some(index),
        path: path?,
        kind: kind?,
        major,
        minor,
        // Engines pass st_mode as it is, type bits included.
        mode: device.file_mode().unwrap_or(DEFAULT_MODE) & 0o7777,
        uid: device.uid().unwrap_or_default(),
        gid: device.gid().unwrap_or_default(),
    })
}

fn path(device: &LinuxDevice, at: &str, faults: &mut Faults) -> Option<String> {
    let given = device.path().to_string_lossy();
    let fault = if given.is_empty() {
        "missing".to_owned()
    } else if !given.starts_with('/') {
        format!("{given:?} is not absolute")
    } else if given.split('/').any(|part| part == "..") {
        format!("{given:?} has a \"..\" in it")
    } else if clean(&given) == "/" {
        "must not be the root of the container".to_owned()
    } else {
        return faults.text(at, &clean(&given));
    };
    faults.add(at, fault);
    None
}

/// Number 0 is no device's major, and what oci-spec makes of a missing one.
fn numbers(device: &LinuxDevice, at: &str, faults: &mut Faults) -> (u32, u32) {
    let (major, minor) = (device.major(), device.minor());
    if major == 0 {
        faults.add(format!("{at}.major"), "missing: a device needs its numbers");
    } else if !(1..=MAJOR_MAX).contains(&major) {
        faults.add(format!("{at}.major"), format!("{major} is not between 1 and {MAJOR_MAX}"));
    }
    if !(0..=MINOR_MAX).contains(&minor) {
        faults.add(format!("{at}.minor"), format!("{minor} is not between 0 and {MINOR_MAX}"));
    }
    (u32::try_from(major).unwrap_or_default(), u32::try_from(minor).unwrap_or_default())
}

const fn kind(typ: LinuxDeviceType) -> Option<DeviceType> {
    match typ {
        LinuxDeviceType::A => None,
        LinuxDeviceType::B => Some(DeviceType::Block),
        LinuxDeviceType::C | LinuxDeviceType::U => Some(DeviceType::Char),
        LinuxDeviceType::P => Some(DeviceType::Fifo),
    }
}

/// The rules of `linux.resources.devices`; `None` if there are none.
pub(crate) fn rules(rules: &[LinuxDeviceCgroup], faults: &mut Faults) -> Option<Vec<DeviceRule>> {
    if rules.is_empty() {
        return None;
    }
    Some(rules.iter().enumerate().map(|(i, rule)| resolve_rule(i, rule, faults)).collect())
}

fn resolve_rule(index: usize, rule: &LinuxDeviceCgroup, faults: &mut Faults) -> DeviceRule {
    let at = format!("linux.resources.devices[{index}]");
    let kind = rule.typ().and_then(kind);
    if kind == Some(DeviceType::Fifo) {
        faults.add(format!("{at}.type"), "\"p\" is not a type of device the kernel controls");
    }
    let mut number = |name: &str, n: Option<i64>| match n {
        // -1 is how engines write "any".
        None | Some(-1) => None,
        Some(n) => {
            let number = u32::try_from(n).ok();
            if number.is_none() {
                faults.add(format!("{at}.{name}"), format!("{n} is not a device number"));
            }
            number
        }
    };
    let (major, minor) = (number("major", rule.major()), number("minor", rule.minor()));
    let access = access(rule.access().as_deref().unwrap_or_default(), &format!("{at}.access"), faults);
    DeviceRule { allow: rule.allow(), kind, major, minor, access }
}

fn access(letters: &str, at: &str, faults: &mut Faults) -> u8 {
    let mut bits = 0;
    for letter in letters.chars() {
        match letter {
            'r' => bits |= 1,
            'w' => bits |= 2,
            'm' => bits |= 4,
            other => faults.add(at, format!("unknown kind of access {other:?}")),
        }
    }
    if letters.is_empty() { 7 } else { bits }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(devices: Value) -> (Vec<Device>, String) {
        let mut faults = Faults::default();
        let devices: Vec<LinuxDevice> = serde_json::from_value(devices).unwrap();
        let out = resolve(&devices, &mut faults);
        (out, faults.into_error("x").map(|e| e.to_string()).unwrap_or_default())
    }

    #[test]
    fn the_configs_device_wins() {
        let (devices, faults) = run(json!([
            {"path": "/dev//null", "type": "u", "major": 1, "minor": 3, "fileMode": 0o020600, "uid": 5},
            {"path": "/dev/pipe", "type": "p"},
            {"path": "/dev/loop0", "type": "b", "major": 7}]));
        assert_eq!(faults, "");
        assert_eq!(devices.len(), 8);
        let null = devices.first().unwrap();
        assert_eq!((null.index, null.path.as_str(), null.mode, null.uid), (Some(0), "/dev/null", 0o600, 5));
        assert_eq!(devices.get(6).unwrap().kind, DeviceType::Fifo);
        assert_eq!(devices.get(7).unwrap().kind, DeviceType::Block);
    }

    #[test]
    fn faults() {
        for (device, text) in [
            (json!({"path": "dev/x", "type": "p"}), "linux.devices[0].path: \"dev/x\" is not absolute"),
            (json!({"type": "p"}), "linux.devices[0].path: missing"),
            (json!({"path": "/dev/../x", "type": "p"}), "linux.devices[0].path: \"/dev/../x\" has a"),
            (json!({"path": "/dev/x", "type": "c"}), "linux.devices[0].major: missing"),
            (json!({"path": "/dev/x", "type": "a"}), "linux.devices[0].type: \"a\" is not"),
            (json!({"path": "/dev/x", "type": "b", "major": 4096}), "linux.devices[0].major: 4096 is not"),
            (json!({"path": "/dev/x", "type": "b", "major": 1, "minor": -1}), "linux.devices[0].minor: -1 is not"),
        ] {
            let found = run(json!([device])).1;
            assert!(found.starts_with(&format!("x: {text}")), "{found}");
        }
    }

    #[test]
    fn rules_of_access() {
        let mut faults = Faults::default();
        let list = json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": -1, "access": "rm"},
            {"allow": true, "type": "a"}]);
        let list: Vec<LinuxDeviceCgroup> = serde_json::from_value(list).unwrap();
        let any = DeviceRule { allow: false, kind: None, major: None, minor: None, access: 7 };
        let one = DeviceRule { allow: true, kind: Some(DeviceType::Char), major: Some(1), minor: None, access: 5 };
        assert_eq!(rules(&list, &mut faults), Some(vec![any, one, DeviceRule { allow: true, ..any }]));
        assert_eq!(rules(&[], &mut faults), None);
        let list = json!([{"allow": true, "type": "p", "major": -2, "access": "rx"}]);
        let list: Vec<LinuxDeviceCgroup> = serde_json::from_value(list).unwrap();
        rules(&list, &mut faults);
        let text = faults.into_error("x").unwrap().to_string();
        for part in ["devices[0].type: \"p\"", "devices[0].major: -2", "devices[0].access: unknown kind of access 'x'"]
        {
            assert!(text.contains(part), "{text}");
        }
    }
}
