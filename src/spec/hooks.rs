//! `hooks`: paths, arguments and time limits.

use std::time::Duration;

use oci_spec::runtime::{Hook as SpecHook, Hooks as SpecHooks};

use super::faults::Faults;
use super::plan::{Hook, Hooks};

/// The six kinds of hook, as `features` lists them.
pub(crate) const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Resolves `hooks`.
// `prestart` is deprecated, and what the NVIDIA container toolkit still uses.
#[allow(deprecated)]
pub(crate) fn resolve(hooks: &SpecHooks, faults: &mut Faults) -> Hooks {
    let [prestart, create_runtime, create_container, start_container, poststart, poststop] = KINDS;
    Hooks {
        prestart: list(prestart, hooks.prestart(), faults),
        create_runtime: list(create_runtime, hooks.create_runtime(), faults),
        create_container: list(create_container, hooks.create_container(), faults),
        start_container: list(start_container, hooks.start_container(), faults),
        poststart: list(poststart, hooks.poststart(), faults),
        poststop: list(poststop, hooks.poststop(), faults),
    }
}

fn list(kind: &str, hooks: &Option<Vec<SpecHook>>, faults: &mut Faults) -> Vec<Hook> {
    let one = |(i, hook): (usize, &SpecHook)| resolve_one(format!("hooks.{kind}[{i}]"), hook, faults);
    hooks.iter().flatten().enumerate().map(one).collect()
}

fn resolve_one(field: String, hook: &SpecHook, faults: &mut Faults) -> Hook {
    let path = hook.path().to_string_lossy().into_owned();
    if path.is_empty() {
        faults.add(format!("{field}.path"), "missing");
    } else if !path.starts_with('/') {
        faults.add(format!("{field}.path"), format!("{path:?} is not absolute"));
    }
    faults.text(format!("{field}.path"), &path);
    for (name, list) in [("args", hook.args()), ("env", hook.env())] {
        for (i, s) in list.iter().flatten().enumerate() {
            faults.text(format!("{field}.{name}[{i}]"), s);
            if name == "env" && !s.contains('=') {
                faults.add(format!("{field}.env[{i}]"), format!("{s:?} is not NAME=value"));
            }
        }
    }
    let args = hook.args().clone().filter(|a| !a.is_empty()).unwrap_or_else(|| vec![path]);
    Hook { path: hook.path().clone(), args, env: hook.env().clone(), timeout: timeout(&field, hook, faults), field }
}

fn timeout(field: &str, hook: &SpecHook, faults: &mut Faults) -> Option<Duration> {
    let seconds = hook.timeout()?;
    match u64::try_from(seconds) {
        Ok(seconds @ 1..) => Some(Duration::from_secs(seconds)),
        _ => {
            faults.add(format!("{field}.timeout"), format!("{seconds} is not greater than 0"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_of_hooks() {
        let hooks = json!({
            "prestart": [{"path": "/a"}],
            "createRuntime": [{"path": "/b", "args": ["b", "-x"], "env": ["A=1"], "timeout": 5}],
            "poststop": [{"path": "/c"}, {"path": "d", "timeout": 0, "args": ["x\0"]}, {"path": "/e", "timeout": -1}]});
        let hooks: SpecHooks = serde_json::from_value(hooks).unwrap();
        let mut faults = Faults::default();
        let out = resolve(&hooks, &mut faults);
        assert_eq!(out.prestart.first().unwrap().args, ["/a"]);
        assert_eq!(out.prestart.first().unwrap().env, None);
        let b = out.create_runtime.first().unwrap();
        assert_eq!((b.field.as_str(), b.timeout), ("hooks.createRuntime[0]", Some(Duration::from_secs(5))));
        assert_eq!(
            faults.into_error("x").unwrap().to_string(),
            "x: hooks.poststop[1].path: \"d\" is not absolute; hooks.poststop[1].args[0]: contains a NUL byte; \
             hooks.poststop[1].timeout: 0 is not greater than 0; hooks.poststop[2].timeout: -1 is not greater than 0"
        );
    }
}
