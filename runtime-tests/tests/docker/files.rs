//! Volumes, layers, and files in and out.

use std::fs;

use runtime_tests::engines::docker::IMAGE;
use runtime_tests::engines::{Manager, offered};
use runtime_tests::{host, require, sys};

use super::walk::{Walk, common_dir, text};

#[test]
fn an_anonymous_volume() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let format = r#"{{range .Mounts}}{{if eq .Destination "/test"}}{{.Type}} {{.Source}}{{end}}{{end}}"#;
    let source = w.inspect(&w.common, format);
    let source = source.strip_prefix("volume ").expect("a volume at /test");
    w.sees("echo kept >/test/file");
    assert_eq!(fs::read_to_string(format!("{source}/file")).unwrap(), "kept\n");
    assert_eq!(w.says(&["--volumes-from", &w.common], "cat /test/file"), "kept");
    // It goes with its container, if that is asked for.
    let id = w.make("create", &["-v", "/test"], IMAGE, &["true"]).go().ok().text().to_owned();
    let source = w.inspect(&id, "{{(index .Mounts 0).Source}}");
    assert!(fs::exists(&source).unwrap());
    w.docker(&["rm", "--volumes", &id]).go().ok();
    assert!(!fs::exists(&source).unwrap());
}

/// What the image has there is copied into a volume that is new.
#[test]
fn a_named_volume_begins_with_the_images_files() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let volume = format!("{}volume", w.c.id);
    let flag = format!("{volume}:/etc");
    assert_eq!(w.says(&["-v", &flag], "echo more >/etc/more; ls /etc/passwd"), "/etc/passwd");
    assert_eq!(w.says(&["-v", &flag], "cat /etc/more"), "more");
    w.docker(&["volume", "rm", &volume]).go().ok();
}

#[test]
fn a_directory_of_the_hosts_both_ways() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let dir = common_dir();
    fs::write(dir.join("in"), "from the host\n").unwrap();
    assert_eq!(w.sees("echo from inside >/shared/out; cat /shared/in; rm /shared/in"), "from the host");
    assert_eq!(fs::read_to_string(dir.join("out")).unwrap(), "from inside\n");
    assert!(!dir.join("in").exists());
}

#[test]
fn a_read_only_directory_is_so_all_the_way_down() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let dir = w.dir("shared");
    fs::create_dir(dir.join("below")).unwrap();
    sys::mount("tmpfs", dir.join("below"), "tmpfs", 0, "").expect("a mount below");
    let script = "touch /test/x; touch /test/below/x; ls -a /test/below | wc -l";
    // An error, were the runtime not able to; `-v …:ro` would do without.
    let flag = format!("type=bind,source={},target=/test,readonly,bind-recursive=readonly", text(&dir));
    let out = w.run(&["--mount", &format!("{flag},bind-propagation=rprivate")], script).go();
    sys::umount(dir.join("below")).expect("umount");
    let out = out.ok().says(&["/test/x: Read-only file system", "/test/below/x: Read-only file system"]);
    assert_eq!(out.text(), "2");
}

/// What is mounted on the host later appears inside.
#[test]
fn a_directory_as_a_slave_of_the_hosts() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let dir = w.dir("shared");
    fs::create_dir(dir.join("below")).unwrap();
    sys::mount("tmpfs", &dir, "tmpfs", 0, "").expect("a mount");
    sys::mount("", &dir, "", libc::MS_SHARED, "").expect("a shared one");
    fs::create_dir(dir.join("below")).unwrap();
    let id = w.start(&["-v", &format!("{}:/test:rslave", text(&dir))], "sleep 1000");
    sys::mount("tmpfs", dir.join("below"), "tmpfs", 0, "").expect("a later mount");
    fs::write(dir.join("below/file"), "later\n").unwrap();
    let seen = w.exec(&id, "cat /test/below/file");
    sys::umount(dir.join("below")).expect("umount");
    let after = w.exec(&id, "ls /test/below");
    sys::umount(&dir).expect("umount");
    assert_eq!(seen.ok().text(), "later");
    assert_eq!(after.ok().text(), "");
}

#[test]
fn read_only_with_a_tmpfs() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let script =
        "touch /x; touch /etc/x; echo tmp >/run/x && cat /run/x; grep ' /run ' /proc/self/mounts; stat -c %a /run";
    let out = w.run(&["--read-only", "--tmpfs", "/run:size=1m,mode=700"], script).go().ok();
    let out = out.says(&["/x: Read-only file system", "/etc/x: Read-only file system"]);
    let lines: Vec<&str> = out.stdout.lines().collect();
    assert!(
        lines[0] == "tmp" && lines[1].starts_with("tmpfs /run tmpfs rw,") && lines[1].contains("size=1024k"),
        "{lines:?}"
    );
    assert!(lines[1].contains("nosuid") && lines[1].contains("noexec"), "{lines:?}");
    assert_eq!(lines[2], "700");
}

/// Changed, added and deleted; the image of it has all three.
#[test]
fn diff_and_commit() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let script = "echo changed >>/etc/passwd; mkdir /added; echo new >/added/file; rm /etc/group; rm -r /root";
    let id = w.start(&[], script);
    assert_eq!(w.wait(&id), 0);
    let diff = w.docker(&["diff", &id]).go().ok().stdout;
    let mut lines: Vec<&str> = diff.lines().collect();
    lines.sort_unstable();
    let expected = ["A /added", "A /added/file", "C /etc", "C /etc/passwd", "D /etc/group", "D /root"];
    assert_eq!(lines, expected);
    let image = format!("{}changed", w.c.id);
    let commit = ["commit", "--author=somebody", "--message=why", "--change", r#"CMD ["cat", "/added/file"]"#];
    w.docker(&commit).args([&id, &image]).go().ok();
    assert_eq!(w.make("run", &["--rm"], &image, &[]).go().ok().text(), "new");
    let check = ["sh", "-c", "tail -n 1 /etc/passwd; ls /etc/group /root"];
    let out = w
        .make("run", &["--rm"], &image, &check)
        .go()
        .exits(1)
        .says(&["/etc/group: No such file", "/root: No such file"]);
    assert_eq!(out.text(), "changed");
    w.docker(&["image", "rm", &image]).go().ok();
}

/// What is deleted in a layer is a whiteout in the archive, and gone where that is loaded.
#[test]
fn whiteouts_are_saved_and_loaded() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let image = format!("{}less", w.c.id);
    // The directory that is made again hides all that the layer below has in it.
    let id = w.start(&[], "rm /etc/group /bin/wget; rm -r /etc; mkdir /etc; echo only >/etc/only");
    assert_eq!(w.wait(&id), 0);
    w.docker(&["commit", &id, &image]).go().ok();
    let dir = w.dir("saved");
    w.docker(&["save", "--output", text(&dir.join("saved.tar")), &image]).go().ok();
    w.docker(&["image", "rm", &image]).go().ok();
    let script = "tar xf saved.tar; for blob in blobs/sha256/*; do tar tf $blob 2>/dev/null; done; true";
    let names = w.c.program("sh").args(["-c", script]).cwd(&dir).go().ok().stdout;
    let names: Vec<&str> = names.lines().map(|l| l.trim_start_matches("./")).collect();
    // All at once, or one by one where overlayfs may redirect directories.
    let hidden = if names.contains(&"etc/.wh..wh..opq") { "etc/.wh..wh..opq" } else { "etc/.wh.passwd" };
    for name in ["bin/.wh.wget", hidden, "etc/only"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    w.docker(&["load", "--input", text(&dir.join("saved.tar"))]).go().ok();
    let script = ["sh", "-c", "ls /etc; ls /bin/wget /bin/cat"];
    let out = w.make("run", &["--rm"], &image, &script).go().exits(1).says(&["/bin/wget: No such file"]);
    assert!(
        out.stdout.contains("only\n") && !out.stdout.contains("passwd") && out.stdout.contains("/bin/cat"),
        "{}",
        out.stdout
    );
    w.docker(&["image", "rm", &image]).go().ok();
}

#[test]
fn copying_in_and_out() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let dir = w.dir("copied");
    fs::write(dir.join("file"), "from the host\n").unwrap();
    let (inside, outside) = (|path: &str| format!("{}:{path}", w.common), text(&dir));
    w.docker(&["cp", outside, &inside("/root")]).go().ok();
    // Into a mount that only the container has: docker enters it.
    w.docker(&["cp", text(&dir.join("file")), &inside("/test/copied")]).go().ok();
    let seen = w.sees("cat /root/copied/file /test/copied; mkdir -p /made; echo inside >/made/x");
    assert_eq!(seen, "from the host\nfrom the host");
    w.docker(&["cp", &inside("/made"), outside]).go().ok();
    assert_eq!(fs::read_to_string(dir.join("made/x")).unwrap(), "inside\n");
    let archive = fs::File::create(dir.join("made.tar")).unwrap();
    w.docker(&["cp", &inside("/made/x"), "-"]).stdout(archive).go().ok();
    let list = w.c.program("tar").args(["-tf", text(&dir.join("made.tar"))]).go().ok();
    assert_eq!(list.text(), "x");
}

#[test]
fn export_is_the_tree_as_it_is() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    w.sees("echo x >/added; echo x >/test/not-this; rm -f /bin/zcat");
    let tar = w.c.dir.join("export.tar");
    w.docker(&["export", "--output", text(&tar), &w.common]).go().ok();
    let list = w.c.program("tar").args(["-tf", text(&tar)]).go().ok().stdout;
    let has = |name: &str| list.lines().any(|l| l == name);
    assert!(has("added") && has("etc/passwd") && !has("bin/zcat") && !has("test/not-this"), "{list}");
}
