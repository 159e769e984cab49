//! Stubs: the verbs are written elsewhere, with these signatures.
#![allow(missing_docs, unused_variables, clippy::missing_errors_doc)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{CreateOptions, ExecOptions, RunOptions, Runtime};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

#[derive(Debug, Clone, serde::Serialize)]
pub struct StateReport {
    #[serde(rename = "ociVersion")]
    pub oci_version: String,
    pub id: String,
    pub pid: i32,
    pub status: Status,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub owner: String,
}

fn not_there<T>() -> Result<T> {
    Err(Error::new("not there yet"))
}

pub fn create(rt: &Runtime, o: &CreateOptions) -> Result<()> {
    not_there()
}
pub fn run(rt: &Runtime, o: &RunOptions) -> Result<i32> {
    not_there()
}
pub fn start(rt: &Runtime, id: &str) -> Result<()> {
    not_there()
}
pub fn exec(rt: &Runtime, o: &ExecOptions) -> Result<i32> {
    not_there()
}
pub fn kill(rt: &Runtime, id: &str, signal: i32, all: bool) -> Result<()> {
    not_there()
}
pub fn delete(rt: &Runtime, id: &str, force: bool) -> Result<()> {
    not_there()
}
pub fn pause(rt: &Runtime, id: &str) -> Result<()> {
    not_there()
}
pub fn resume(rt: &Runtime, id: &str) -> Result<()> {
    not_there()
}
pub fn state(rt: &Runtime, id: &str) -> Result<StateReport> {
    not_there()
}
pub fn list(rt: &Runtime) -> Result<Vec<StateReport>> {
    not_there()
}
pub fn processes(rt: &Runtime, id: &str) -> Result<Vec<i32>> {
    not_there()
}
