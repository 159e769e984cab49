//! AppArmor profiles of a test's own.

use std::fs;

use crate::Case;

/// All that a program may do, in AppArmor's words, but to change its profile.
pub const ALL: &str =
    "file, capability, network, unix, signal, ptrace, mount, umount, pivot_root, userns, mqueue, dbus,";

/// A profile that is loaded, and removed again when this is dropped.
pub struct Profile<'a> {
    /// Its name.
    pub name: String,
    case: &'a Case,
}

impl<'a> Profile<'a> {
    /// Loads a profile that allows everything, less `rules`, in enforce mode.
    #[track_caller]
    pub fn load(case: &'a Case, name: &str, rules: &str) -> Self {
        // Or what is in no mount namespace, as our binary's private mount, has no path.
        Self::with(case, name, "flags=(attach_disconnected)", rules)
    }

    /// As [`Profile::load`], with an attachment or flags after its name.
    #[track_caller]
    pub fn with(case: &'a Case, name: &str, head: &str, rules: &str) -> Self {
        let profile = Self { name: format!("orlop-{}-{name}", case.id), case };
        let text = format!("profile {} {head} {{ {ALL} {rules} }}\n", profile.name);
        fs::write(profile.file(), text).expect("profile");
        case.program("apparmor_parser").arg("--replace").arg(profile.file()).go().ok();
        profile
    }

    fn file(&self) -> std::path::PathBuf {
        self.case.dir.join(&self.name)
    }

    /// What `/proc/PID/attr/apparmor/current` says of a process it confines.
    pub fn enforced(&self) -> String {
        format!("{} (enforce)", self.name)
    }

    /// Removes it from the kernel.
    #[track_caller]
    pub fn remove(&self) {
        self.case.program("apparmor_parser").arg("--remove").arg(self.file()).go().ok();
        fs::remove_file(self.file()).expect("profile");
    }
}

impl Drop for Profile<'_> {
    fn drop(&mut self) {
        if self.file().exists() && !std::thread::panicking() {
            self.remove();
        }
    }
}

/// What confines a process, as the kernel's own procfs says.
pub fn of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/attr/apparmor/current")).expect("a label").trim().to_owned()
}
