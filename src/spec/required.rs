//! Members that the specification requires, and oci-spec takes for 0 when they
//! are left out: a map without its `hostID` would make the host's root of the
//! container's.

use serde::Deserialize;
use serde_json::Value;

use super::faults::Faults;

const IDS: [&str; 3] = ["containerID", "hostID", "size"];
const RATE: [&str; 3] = ["major", "minor", "rate"];

/// Of a config only what has such members: the rest is passed over quickly.
#[derive(Deserialize)]
struct Config {
    process: Option<Process>,
    mounts: Option<Vec<Mapped>>,
    linux: Option<Linux>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Process {
    console_size: Value,
    rlimits: Value,
    io_priority: Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Mapped {
    uid_mappings: Value,
    gid_mappings: Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Linux {
    uid_mappings: Value,
    gid_mappings: Value,
    devices: Value,
    resources: Option<Resources>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Resources {
    devices: Value,
    hugepage_limits: Value,
    #[serde(rename = "blockIO")]
    block_io: Value,
}

/// Looks through a whole config. Whatever else is wrong with it is for the parser to say.
pub(crate) fn in_config(text: &str, faults: &mut Faults) {
    let Ok(config) = serde_json::from_str::<Config>(text) else { return };
    process(&config.process.unwrap_or_default(), faults);
    for (i, mount) in config.mounts.iter().flatten().enumerate() {
        look(&format!("mounts[{i}].uidMappings"), &mount.uid_mappings, &IDS, faults);
        look(&format!("mounts[{i}].gidMappings"), &mount.gid_mappings, &IDS, faults);
    }
    let linux = config.linux.unwrap_or_default();
    look("linux.uidMappings", &linux.uid_mappings, &IDS, faults);
    look("linux.gidMappings", &linux.gid_mappings, &IDS, faults);
    look("linux.devices", &linux.devices, &["major", "minor"], faults);
    resources(&linux.resources.unwrap_or_default(), faults);
}

/// Looks through a bare process object.
pub(crate) fn in_process(text: &str, faults: &mut Faults) {
    if let Ok(found) = serde_json::from_str(text) {
        process(&found, faults);
    }
}

fn process(process: &Process, faults: &mut Faults) {
    look("process.consoleSize", &process.console_size, &["height", "width"], faults);
    look("process.rlimits", &process.rlimits, &["soft", "hard"], faults);
    look("process.ioPriority", &process.io_priority, &["class", "priority"], faults);
}

fn resources(resources: &Resources, faults: &mut Faults) {
    look("linux.resources.devices", &resources.devices, &["allow"], faults);
    look("linux.resources.hugepageLimits", &resources.hugepage_limits, &["limit"], faults);
    for (name, list) in resources.block_io.as_object().into_iter().flatten() {
        let members = if name.starts_with("throttle") { &RATE[..] } else { &RATE[..2] };
        look(&format!("linux.resources.blockIO.{name}"), list, members, faults);
    }
}

/// Looks at an object, or at each of a list.
fn look(at: &str, value: &Value, members: &[&str], faults: &mut Faults) {
    match value {
        // A fifo has no number.
        Value::Object(object) if object.get("type").and_then(Value::as_str) != Some("p") => {
            let missing = members.iter().filter(|m| object.get(**m).is_none_or(Value::is_null));
            missing.for_each(|m| faults.add_shape(&format!("{at}.{m}"), "missing"));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| look(&format!("{at}[{i}]"), value, members, faults));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(config: &Value) -> String {
        let mut faults = Faults::default();
        in_config(&config.to_string(), &mut faults);
        faults.into_error("x").map_or_else(String::new, |e| e.to_string())
    }

    /// Where, and what. `[]` is each element of a list.
    const MEMBERS: [(&str, &[&str]); 15] = [
        ("process.consoleSize", &["height", "width"]),
        ("process.rlimits[]", &["soft", "hard"]),
        ("process.ioPriority", &["class", "priority"]),
        ("mounts[].uidMappings[]", &IDS),
        ("mounts[].gidMappings[]", &IDS),
        ("linux.uidMappings[]", &IDS),
        ("linux.gidMappings[]", &IDS),
        ("linux.devices[]", &["major", "minor"]),
        ("linux.resources.devices[]", &["allow"]),
        ("linux.resources.hugepageLimits[]", &["limit"]),
        ("linux.resources.blockIO.weightDevice[]", &["major", "minor"]),
        ("linux.resources.blockIO.throttleReadBpsDevice[]", &RATE),
        ("linux.resources.blockIO.throttleWriteBpsDevice[]", &RATE),
        ("linux.resources.blockIO.throttleReadIOPSDevice[]", &RATE),
        ("linux.resources.blockIO.throttleWriteIOPSDevice[]", &RATE),
    ];

    #[test]
    fn each_member_is_missed() {
        for (place, members) in MEMBERS {
            for member in members {
                // From the inside out: the others are there, and something good comes first.
                let mut good: Value = members.iter().map(|m| ((*m).to_owned(), json!(1))).collect();
                let mut bad = good.clone();
                bad[*member] = Value::Null;
                let mut path = (*member).to_owned();
                for step in place.split('.').rev() {
                    let name = step.trim_end_matches("[]");
                    let list = name != step;
                    path = format!("{name}{}.{path}", if list { "[1]" } else { "" });
                    bad = json!({ name: if list { json!([good, bad]) } else { bad } });
                    good = json!({});
                }
                assert_eq!(found(&bad), format!("x: {path}: missing"));
            }
        }
    }

    #[test]
    fn what_is_there_or_not_needed_is_no_fault() {
        let id = json!({ "containerID": 0, "hostID": 0, "size": 1 });
        for good in [
            json!({}),
            json!({ "linux": null, "process": null }),
            json!({ "linux": { "devices": [{ "type": "p", "path": "/f" }], "uidMappings": [id] } }),
            json!({ "process": { "rlimits": [{ "soft": 0, "hard": 0 }], "consoleSize": { "height": 0, "width": 0 } } }),
            json!({ "mounts": [{ "uidMappings": [id], "gidMappings": null }, {}] }),
            // Nor is it ours to say what has the wrong type.
            json!({ "linux": { "devices": 3 }, "process": { "rlimits": "x" } }),
            json!({ "linux": [] }),
        ] {
            assert_eq!(found(&good), "", "{good}");
        }
        let mut faults = Faults::default();
        in_process(&json!({ "ioPriority": { "priority": 1 } }).to_string(), &mut faults);
        assert_eq!(faults.into_error("x").unwrap().to_string(), "x: process.ioPriority.class: missing");
    }
}
