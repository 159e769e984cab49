//! The process of `exec`: a document of its own, or the container's with changes.

use oci_spec::runtime::Process as SpecProcess;

use super::faults::Faults;
use super::plan::{Capabilities, IdMaps, Process};
use super::{parse, process};
use crate::Result;
use crate::container::ExecOptions;

const STEP: &str = "invalid process";

/// `exec --process FILE`: a bare process object.
///
/// `base` is the container's own process as it was saved; capabilities,
/// AppArmor profile and SELinux label are taken from there when the document
/// says nothing about them.
///
/// Gives back as well what is to be warned of.
///
/// # Errors
/// All faults of the document, each with its JSON path below `process`.
pub fn load_process(json: &str, base: Option<&str>) -> Result<(Process, Vec<String>)> {
    let (mut process, warnings) = resolve(json)?;
    if let Some(base) = base {
        let (base, _) = resolve(base)?;
        process.capabilities = process.capabilities.or(base.capabilities);
        process.apparmor_profile = process.apparmor_profile.or(base.apparmor_profile);
        process.selinux_label = process.selinux_label.or(base.selinux_label);
    }
    Ok((process, warnings))
}

/// `exec` without `--process`: the container's own process with the changes
/// of the command line.
///
/// # Errors
/// All faults found, in the command line or the saved document.
pub fn exec_process(saved: &str, overrides: &ExecOptions) -> Result<Process> {
    let mut faults = Faults::default();
    check(overrides, &mut faults);
    let caps = overrides.caps.iter().fold(0, |mask, name| match process::capability(name) {
        Some(cap) => mask | cap.bitmask(),
        None => {
            faults.add("--cap", format!("unknown capability {name:?}"));
            mask
        }
    });
    let parsed = parse::process::<SpecProcess>(saved, &mut faults);
    let mut resolved = Process::default();
    if let Some(mut spec) = parsed {
        change(&mut spec, overrides);
        resolved = process::resolve(&spec, &mut faults);
    }
    if let Some(e) = faults.into_error(STEP) {
        return Err(e);
    }
    if caps != 0 {
        add_capabilities(resolved.capabilities.get_or_insert_default(), caps);
    }
    Ok(resolved)
}

/// Are the ids of a process in the container's user namespace?
///
/// # Errors
/// Each that is not.
pub fn check_ids(process: &Process, ids: &IdMaps) -> Result<()> {
    let mut faults = Faults::default();
    process::check_ids(process, ids, &mut faults);
    faults.into_error(STEP).map_or(Ok(()), Err)
}

fn resolve(json: &str) -> Result<(Process, Vec<String>)> {
    let mut faults = Faults::default();
    let parsed = parse::process::<SpecProcess>(json, &mut faults);
    let resolved = parsed.map(|p| process::resolve(&p, &mut faults)).unwrap_or_default();
    let warnings = std::mem::take(&mut faults.warnings);
    match faults.into_error(STEP) {
        Some(e) => Err(e),
        None => Ok((resolved, warnings)),
    }
}

/// What can only be told apart from the saved document here.
fn check(overrides: &ExecOptions, faults: &mut Faults) {
    if overrides.args.is_empty() {
        faults.add("", "no command given");
    }
    for message in overrides.env.iter().filter_map(|e| process::env_key(e).err()) {
        faults.add("--env", message);
    }
    if let Some(cwd) = overrides.cwd.as_ref().filter(|c| !c.starts_with('/')) {
        faults.add("--cwd", format!("{cwd:?} is not absolute"));
    }
}

fn change(spec: &mut SpecProcess, overrides: &ExecOptions) {
    spec.set_args(Some(overrides.args.clone()));
    spec.set_terminal(Some(overrides.tty));
    if let Some(cwd) = &overrides.cwd {
        spec.set_cwd(cwd.into());
    }
    let mut env = spec.env().clone().unwrap_or_default();
    env.extend(overrides.env.iter().filter(|e| process::env_key(e).is_ok()).cloned());
    spec.set_env(Some(env));
    if let Some(label) = &overrides.process_label {
        spec.set_selinux_label(Some(label.clone()));
    }
    if let Some(profile) = &overrides.apparmor {
        spec.set_apparmor_profile(Some(profile.clone()));
    }
    if overrides.no_new_privs {
        spec.set_no_new_privileges(Some(true));
    }
    let mut user = spec.user().clone();
    if let Some((uid, gid)) = overrides.user {
        user.set_uid(uid);
        user.set_gid(gid.unwrap_or(user.gid()));
    }
    let mut gids = user.additional_gids().clone().unwrap_or_default();
    gids.extend(&overrides.additional_gids);
    user.set_additional_gids(Some(gids));
    spec.set_user(user);
}

/// `--cap`. Never into the inheritable set: what is there survives the execve
/// of any file with matching inheritable capabilities (CVE-2022-29162). The
/// kernel takes as ambient only what is inheritable already.
fn add_capabilities(sets: &mut Capabilities, caps: u64) {
    sets.bounding |= caps;
    sets.permitted |= caps;
    sets.effective |= caps;
    sets.ambient |= caps & sets.inheritable;
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use serde_json::json;

    use super::*;

    fn saved() -> String {
        json!({
            "args": ["sh"], "cwd": "/", "env": ["A=1", "B=2"], "terminal": true,
            "consoleSize": {"height": 5, "width": 6},
            "user": {"uid": 1, "gid": 2, "additionalGids": [3]},
            "apparmorProfile": "p", "selinuxLabel": "l",
            "capabilities": {"bounding": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_CHOWN"], "effective": ["CAP_FUTURE"]}
        })
        .to_string()
    }

    fn strings(list: &[CString]) -> Vec<&str> {
        list.iter().map(|s| s.to_str().unwrap()).collect()
    }

    fn options() -> ExecOptions {
        ExecOptions { args: vec!["id".into()], ..ExecOptions::default() }
    }

    #[test]
    fn the_command_line_wins() {
        let o = ExecOptions {
            cwd: Some("/w".into()),
            env: vec!["A=3".into(), "C=".into()],
            user: Some((7, None)),
            additional_gids: vec![9],
            no_new_privs: true,
            apparmor: Some("q".into()),
            process_label: Some("m".into()),
            caps: vec!["cap_chown".into(), "NET_RAW".into()],
            ..options()
        };
        let p = exec_process(&saved(), &o).unwrap();
        assert_eq!(strings(&p.args), ["id"]);
        assert_eq!(strings(&p.env), ["B=2", "A=3", "C="]);
        assert_eq!((p.cwd.as_str(), p.uid, p.gid), ("/w", 7, 2));
        assert_eq!(p.additional_gids, [3, 9]);
        assert_eq!((p.terminal, p.console_size, p.no_new_privileges), (false, None, true));
        assert_eq!(p.apparmor_profile.as_deref(), Some("q"));
        assert_eq!(p.selinux_label.as_deref(), Some("m"));
        let (kill, chown, raw) = (1 << 5, 1 << 0, 1 << 13);
        let expected = Capabilities {
            bounding: kill | chown | raw,
            effective: chown | raw,
            permitted: chown | raw,
            inheritable: chown,
            ambient: chown,
        };
        assert_eq!(p.capabilities, Some(expected));
    }

    #[test]
    fn the_rest_is_the_containers() {
        let p = exec_process(&saved(), &ExecOptions { tty: true, ..options() }).unwrap();
        assert_eq!((p.uid, p.gid, p.terminal, p.console_size), (1, 2, true, Some((5, 6))));
        assert_eq!(p.apparmor_profile.as_deref(), Some("p"));
        assert!(!p.no_new_privileges);
    }

    #[test]
    fn faults_of_the_command_line() {
        let o =
            ExecOptions { env: vec!["X".into()], cwd: Some("w".into()), caps: vec!["nope".into()], ..<_>::default() };
        let text = exec_process(&saved(), &o).unwrap_err().to_string();
        for part in
            ["no command given", "--env: \"X\" has no \"=\"", "--cwd: \"w\" is not", "--cap: unknown capability"]
        {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_document_falls_back_to_the_containers_labels() {
        let p = load_process(r#"{"args":["a"],"cwd":"/"}"#, Some(&saved())).unwrap().0;
        assert_eq!(p.capabilities.map(|c| c.bounding), Some(1 << 5 | 1));
        assert_eq!((p.apparmor_profile.as_deref(), p.selinux_label.as_deref()), (Some("p"), Some("l")));
        assert_eq!((p.uid, p.gid, p.umask), (0, 0, 0o022));
        let own = r#"{"args":["a"],"cwd":"/","capabilities":{},"apparmorProfile":"x"}"#;
        let p = load_process(own, Some(&saved())).unwrap().0;
        assert_eq!(p.capabilities, Some(Capabilities::default()));
        assert_eq!(p.apparmor_profile.as_deref(), Some("x"));
        assert_eq!(load_process(own, None).unwrap().0.selinux_label, None);
    }

    #[test]
    fn faults_of_a_document() {
        let text = load_process(r#"{"args":[],"cwd":"x","terminal":3}"#, None).unwrap_err().to_string();
        for part in ["process.args: must", "process.cwd: \"x\" is not absolute", "process.terminal: invalid type"] {
            assert!(text.contains(part), "{text}");
        }
        let text = load_process("{", None).unwrap_err().to_string();
        assert!(text.starts_with("invalid process: process: not valid JSON"), "{text}");
    }
}
