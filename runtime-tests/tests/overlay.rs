//! overlay: a layered read-only image with a writable top.

use std::fs;

use runtime_tests::{Case, host, json, require, sys};

#[test]
fn overlay_with_whiteouts() {
    require!(host::filesystem("overlay"));
    let mut c = Case::new();
    let make = |c: &Case, name: &str| {
        let dir = c.dir.join(name);
        fs::create_dir_all(dir.join("d")).unwrap();
        dir
    };
    let (one, two, upper, work) = (make(&c, "l1"), make(&c, "l2"), make(&c, "up"), make(&c, "work"));
    fs::write(one.join("d/base"), "base").unwrap();
    fs::write(one.join("d/gone"), "gone").unwrap();
    fs::write(two.join("d/layer"), "layer").unwrap();
    // A whiteout in the upper of the two images hides the file below.
    sys::mknod(two.join("d/gone"), libc::S_IFCHR, 0, 0).unwrap();
    let options = [
        format!("lowerdir={}:{}", two.display(), one.display()),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    c.mount("/o", "overlay", "overlay", &options);
    let r = c.attempts(&["ls:/o/d", "write:/o/d/base:BASE", "unlink:/o/d/layer", "create:/o/d/new"]);
    assert_eq!(r["ls:/o/d"], json!(["base", "layer"]));
    assert_eq!(r["unlink:/o/d/layer"], 0);
    assert_eq!(fs::read_to_string(one.join("d/base")).unwrap(), "base", "the image is untouched");
    assert_eq!(fs::read_to_string(upper.join("d/base")).unwrap(), "BASE");
    assert!(upper.join("d/new").exists());
}

#[test]
fn overlay_as_the_root() {
    // As engines do: layers, the top one writable, mounted on the bundle's rootfs.
    require!(host::filesystem("overlay"));
    let mut c = Case::new();
    let image = c.dir.join("image");
    fs::rename(c.rootfs(""), &image).unwrap();
    for name in ["b/rootfs", "up", "work", "layer/etc"] {
        fs::create_dir_all(c.dir.join(name)).unwrap();
    }
    sys::mknod(c.dir.join("layer/etc/group"), libc::S_IFCHR, 0, 0).unwrap();
    let dir = c.dir.display();
    let data = format!("lowerdir={dir}/layer:{dir}/image,upperdir={dir}/up,workdir={dir}/work");
    sys::mount("overlay", c.rootfs(""), "overlay", 0, &data).unwrap();
    c.sh("echo written > /new; rm /etc/passwd; ls /etc; cat /new");
    let out = c.run();
    sys::umount(c.rootfs("")).unwrap();
    assert_eq!(out.ok().text(), "written", "neither the file whited out nor the one deleted");
    assert!(c.dir.join("up/new").exists() && !image.join("new").exists());
    assert!(image.join("etc/passwd").exists(), "deleted only in the upper layer");
}

#[test]
fn overlay_mount_as_the_root() {
    // The config's own first mount is the root: what comes after is in it.
    require!(host::filesystem("overlay"));
    let mut c = Case::new();
    for name in ["up", "work"] {
        fs::create_dir_all(c.dir.join(name)).unwrap();
    }
    let options = [
        format!("lowerdir={}", c.rootfs("").display()),
        format!("upperdir={}", c.dir.join("up").display()),
        format!("workdir={}", c.dir.join("work").display()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let first = runtime_tests::bundle::mount("/", "overlay", "overlay", &options);
    c.config["mounts"].as_array_mut().unwrap().insert(0, first);
    c.sh("echo written > /new; rm /etc/group; cat /new; cat /proc/sys/kernel/hostname");
    assert_eq!(c.run().ok().text(), "written\norlop-test");
    assert!(c.dir.join("up/new").exists() && !c.rootfs("new").exists());
    assert!(c.rootfs("etc/group").exists(), "deleted only in the upper layer");
}
