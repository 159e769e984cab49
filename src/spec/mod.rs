//! From `config.json` to a [`plan::Plan`]: parsed once, validated, resolved.
//!
//! No system call is made here but to read the file, so every fault of a
//! config is found, all at once, before anything is touched.

use std::path::Path;

use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Step;
use crate::{Error, Result};

mod blockio;
mod devices;
mod exec;
mod faults;
pub mod features;
mod hooks;
mod idmaps;
pub(crate) mod lists;
mod mount_options;
mod mounts;
mod namespaces;
mod netdevices;
mod parse;
pub mod plan;
mod process;
mod rdt;
mod required;
mod resources;
mod scheduling;
mod seccomp;
mod sysctl;
pub mod template;
mod update;
mod validate;
mod weights;

pub use exec::{check_ids, exec_process, load_process};
pub use features::features;
pub use mounts::LABELS as MOUNT_LABELS;
pub use process::capability_names;
pub use rdt::{Schema, check_name as check_rdt_name};
pub use seccomp::program as seccomp_program;
pub use template::template;
pub use update::{Current, Update, update};
pub use validate::{CRIU_CONFIG, UNIT_PROPERTY, keeps_original_groups};

/// The newest version of the runtime specification understood here.
pub const OCI_VERSION: &str = "1.3.0";

/// A config, resolved.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is to be done.
    pub plan: plan::Plan,
    /// The JSON of the `process` object as the config gave it, saved in the
    /// state for `exec`.
    pub process_json: Option<String>,
}

/// Reads and resolves a bundle's `config.json`, or another file in its place.
///
/// # Errors
/// The file cannot be read, or the config has faults: all of them are
/// reported together, each with its JSON path.
pub fn load(bundle: &Path, config: Option<&Path>) -> Result<Loaded> {
    let path = config.map_or_else(|| bundle.join("config.json"), Path::to_path_buf);
    let bytes = std::fs::read(&path).step_at("cannot read config", &path)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::new("invalid config").path(&path).message("not UTF-8"))?;
    resolve(&text, bundle).map_err(|e| e.path(&path))
}

/// Resolves the text of a config.
fn resolve(text: &str, bundle: &Path) -> Result<Loaded> {
    let mut faults = faults::Faults::default();
    let plan = parse::config(text, &mut faults).map(|mut spec: Spec| {
        drop_unset_pids_limit(&mut spec, text);
        take_old_monitoring(&mut spec, text);
        validate::plan(&spec, bundle, &mut faults)
    });
    let warnings = std::mem::take(&mut faults.warnings);
    if let Some(e) = faults.into_error("invalid config") {
        return Err(e);
    }
    let mut plan = plan.ok_or_else(|| Error::new("invalid config"))?;
    plan.warnings = warnings;
    Ok(Loaded { plan, process_json: process_json(text) })
}

/// A limit of 0 is a real one; a missing one must not become it.
fn drop_unset_pids_limit(spec: &mut Spec, text: &str) {
    let resources = spec.linux_mut().as_mut().and_then(|l| l.resources_mut().as_mut());
    if let Some(resources) = resources
        && resources.pids().is_some_and(|p| p.limit() == 0)
        && parse::pids_without_limit(text, "/linux/resources/pids/limit")
    {
        resources.set_pids(None);
    }
}

/// `enableCMT` and `enableMBM` of runtime-spec 1.1 and 1.2, which oci-spec
/// spells differently: one monitoring group does what either asked for.
fn take_old_monitoring(spec: &mut Spec, text: &str) {
    let rdt = spec.linux_mut().as_mut().and_then(|l| l.intel_rdt_mut().as_mut());
    let flags = ["/linux/intelRdt/enableCMT", "/linux/intelRdt/enableMBM"];
    if let Some(rdt) = rdt
        && flags.iter().any(|flag| parse::is_true(text, flag))
    {
        rdt.set_enable_monitoring(Some(true));
    }
}

/// The `process` object as it is written in the document.
fn process_json(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        process: Option<&'a RawValue>,
    }
    serde_json::from_str::<Document>(text).ok()?.process.map(|p| p.get().to_owned())
}

#[cfg(test)]
mod tests;
