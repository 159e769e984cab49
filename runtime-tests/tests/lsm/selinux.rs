//! SELinux where there is none: what is refused, and what is let go.

use runtime_tests::{Case, host};

#[test]
fn labels_without_selinux() {
    if host::selinux().is_ok() {
        runtime_tests::skip!("SELinux is there");
    }
    let mut c = Case::new();
    c.set("/process/selinuxLabel", "system_u:system_r:container_t:s0");
    c.create().fails_with(&["process.selinuxLabel", "selinux is not enabled"]);
    c.assert_nothing_left();
    // Engines send the label of the mounts everywhere; an option of one mount is a request.
    c.unset("/process/selinuxLabel").set("/linux/mountLabel", "system_u:object_r:container_file_t:s0:c1,c2");
    c.run().ok();
    for option in ["context", "fscontext", "rootcontext", "defcontext"] {
        let mut c = Case::new();
        c.mount("/m", "tmpfs", "tmpfs", &["mode=755", &format!("{option}=\"u:object_r:t:s0\"")]);
        c.create().fails_with(&["mounts[6].options", &format!("{option}="), "selinux is not enabled"]);
        c.assert_nothing_left();
    }
    let c = Case::started();
    c.exec(&["--process-label", "u:r:t:s0"], &["/bin/true"]).go().exits(255).says(&["process.selinuxLabel"]);
    c.delete();
}
