//! From JSON text to the types of oci-spec, leniently where they are stricter
//! than the runtime specification, and naming every fault of shape.
//!
//! A good document is parsed once, straight into the types. Only when that
//! fails is it read as a JSON value, repaired, and tried again; what cannot be
//! repaired is reported with its path and taken out, so that the rest can be
//! checked as well.

use oci_spec::runtime::Capability;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::faults::Faults;
use super::required;

/// More faults of shape than this are not worth listing.
const MAX_REPAIRS: usize = 64;

/// The names of the five capability sets.
pub(crate) const CAPABILITY_SETS: [&str; 5] = ["bounding", "effective", "inheritable", "permitted", "ambient"];

/// `SCHED_FLAG_*` names oci-spec 0.10 spells differently.
const RENAMED_FLAGS: [(&str, &str); 2] =
    [("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"), ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN")];

/// Parses a whole config.
pub(crate) fn config<T: DeserializeOwned>(text: &str, faults: &mut Faults) -> Option<T> {
    required::in_config(text, faults);
    parse(text, "", faults, |doc, faults| {
        if let Some(process) = doc.get_mut("process") {
            repair_process(process, faults);
        }
        for mount in array(doc.get_mut("mounts")) {
            default(mount, "destination", || "".into());
        }
        for (_, hooks) in doc.get_mut("hooks").and_then(Value::as_object_mut).into_iter().flatten() {
            for hook in array(Some(hooks)) {
                default(hook, "path", || "".into());
            }
        }
        drop_idle_seccomp(doc);
    })
}

/// Parses a bare process object; its paths start with `process`.
pub(crate) fn process<T: DeserializeOwned>(text: &str, faults: &mut Faults) -> Option<T> {
    required::in_process(text, faults);
    parse(text, "process", faults, repair_process)
}

/// Parses a bare seccomp object; its paths start with `linux.seccomp`.
pub(crate) fn seccomp<T: DeserializeOwned>(text: &str, faults: &mut Faults) -> Option<T> {
    parse(text, "linux.seccomp", faults, |_, _| {})
}

/// Parses a bare resources object; its paths start with `root`. Its device
/// rules are nobody's concern where this is used, not even when they are bad.
pub(crate) fn resources<T: DeserializeOwned>(text: &str, root: &str, faults: &mut Faults) -> Option<T> {
    // A list would be taken for the values of the fields in their order.
    if text.trim_start().starts_with('[') {
        faults.add_shape(root, "not an object");
        return None;
    }
    parse(text, root, faults, |doc, _| {
        if let Some(doc) = doc.as_object_mut() {
            doc.remove("devices");
        }
    })
}

fn parse<T: DeserializeOwned>(
    text: &str,
    root: &str,
    faults: &mut Faults,
    repair: impl Fn(&mut Value, &mut Faults),
) -> Option<T> {
    if let Ok(parsed) = serde_json::from_str(text) {
        return Some(parsed);
    }
    let mut doc: Value = match serde_json::from_str(text) {
        Ok(doc) => doc,
        Err(e) => {
            faults.add_shape(root, format!("not valid JSON: {e}"));
            return None;
        }
    };
    drop_nulls(&mut doc);
    for _ in 0..MAX_REPAIRS {
        repair(&mut doc, faults);
        match serde_path_to_error::deserialize(&doc) {
            Ok(parsed) => return Some(parsed),
            Err(e) => report_and_remove(&mut doc, root, &e, faults)?,
        }
    }
    None
}

/// Reports one fault of shape and takes the culprit out of the document;
/// `None` if that is the document itself.
fn report_and_remove(
    doc: &mut Value,
    root: &str,
    e: &serde_path_to_error::Error<serde_json::Error>,
    faults: &mut Faults,
) -> Option<()> {
    let mut node = Some(doc);
    let mut path = root.to_owned();
    // The parent of the culprit, its path, and where the culprit is in it.
    let mut culprit = None;
    for segment in e.path() {
        let parent = path.clone();
        path = step(&path, segment);
        match segment {
            Segment::Seq { .. } | Segment::Map { .. } => {}
            Segment::Enum { .. } | Segment::Unknown => break,
        }
        culprit = Some((parent, segment.clone()));
    }
    let message = e.inner().to_string();
    match message.strip_prefix("missing field `").and_then(|m| m.strip_suffix('`')) {
        Some(field) if path.is_empty() => faults.add_shape(field, "missing"),
        Some(field) => faults.add_shape(&format!("{path}.{field}"), "missing"),
        None => faults.add_shape(&path, message),
    }
    let (parent, last) = culprit?;
    let depth = e.path().iter().take_while(|s| matches!(s, Segment::Seq { .. } | Segment::Map { .. })).count();
    for segment in e.path().iter().take(depth - 1) {
        node = match segment {
            Segment::Seq { index } => node.and_then(|n| n.get_mut(*index)),
            Segment::Map { key } => node.and_then(|n| n.get_mut(key)),
            _ => None,
        };
    }
    match (node?, last) {
        (Value::Object(map), Segment::Map { key }) => map.remove(&key).map(|_| ()),
        (Value::Array(list), Segment::Seq { index }) if index < list.len() => {
            list.remove(index);
            faults.element_removed(&parent, index);
            Some(())
        }
        _ => None,
    }
}

fn step(path: &str, segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("{path}[{index}]"),
        Segment::Map { key } if path.is_empty() => key.clone(),
        Segment::Map { key } => format!("{path}.{key}"),
        Segment::Enum { .. } | Segment::Unknown => path.to_owned(),
    }
}

/// What oci-spec refuses in a process and the specification, or every other
/// runtime, does not.
fn repair_process(process: &mut Value, faults: &mut Faults) {
    default(process, "cwd", || "".into());
    default(process, "user", || Value::Object(serde_json::Map::new()));
    for set in CAPABILITY_SETS {
        if let Some(list) = process.pointer_mut(&format!("/capabilities/{set}")).and_then(Value::as_array_mut) {
            drop_unknown_capabilities(list, set, faults);
        }
    }
    for flag in array(process.pointer_mut("/scheduler/flags")) {
        if let Some((_, theirs)) = RENAMED_FLAGS.iter().find(|(ours, _)| flag.as_str() == Some(*ours)) {
            *flag = (*theirs).into();
        }
    }
    for (_, list) in process.get_mut("execCPUAffinity").and_then(Value::as_object_mut).into_iter().flatten() {
        // Empty means "leave it alone"; blanks are what the kernel's own lists allow.
        let Some(text) = list.as_str() else { continue };
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        *list = if text.is_empty() { Value::Null } else { text.into() };
    }
}

/// The specification wants a warning for a capability that cannot be mapped.
fn drop_unknown_capabilities(list: &mut Vec<Value>, set: &str, faults: &mut Faults) {
    list.retain(|name| {
        let unknown = name.is_string() && serde_json::from_value::<Capability>(name.clone()).is_err();
        if unknown {
            faults.warn(format!("process.capabilities.{set}"), &format!("unknown capability {name} ignored"));
        }
        !unknown
    });
}

/// A profile with neither a default action nor rules means no filter.
fn drop_idle_seccomp(doc: &mut Value) {
    let Some(linux) = doc.get_mut("linux").and_then(Value::as_object_mut) else { return };
    let Some(profile) = linux.get("seccomp").and_then(Value::as_object) else { return };
    let no_action = profile.get("defaultAction").is_none_or(|a| a.is_null() || a.as_str() == Some(""));
    let no_rules = profile.get("syscalls").is_none_or(|s| s.is_null() || s.as_array().is_some_and(Vec::is_empty));
    if no_action && no_rules {
        linux.remove("seccomp");
    }
}

/// Is there a `pids` object that sets no limit? oci-spec reads that as a limit of 0.
pub(crate) fn pids_without_limit(text: &str, pointer: &str) -> bool {
    let doc: Value = serde_json::from_str(text).unwrap_or_default();
    doc.pointer(pointer).is_none_or(Value::is_null)
}

/// Is there a `true` at this place of a document?
pub(crate) fn is_true(text: &str, pointer: &str) -> bool {
    let doc: Value = serde_json::from_str(text).unwrap_or_default();
    doc.pointer(pointer).and_then(Value::as_bool) == Some(true)
}

/// Null is how Go's encoder writes what is not set, whatever its type.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Fills in a required field, so that its absence is found together with all other faults.
fn default(object: &mut Value, key: &str, value: impl FnOnce() -> Value) {
    if let Some(map) = object.as_object_mut() {
        map.entry(key).or_insert_with(value);
    }
}

fn array(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    value.and_then(Value::as_array_mut).into_iter().flatten()
}
