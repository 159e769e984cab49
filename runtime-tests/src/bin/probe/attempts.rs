//! Operations to try, one per argument: `open:PATH:r|w|rw`, `mknod:PATH:c|b|p:MAJ:MIN`, …

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::Duration;

use runtime_tests::sys;
use serde_json::{Map, Value, json};

/// Tries each; the result is `0` or the name of the errno, by operation.
pub fn all(operations: &[String]) -> Value {
    let one = |op: &String| (op.clone(), attempt(op).unwrap_or_else(|e| json!(sys::errno_name(&e))));
    Value::Object(operations.iter().map(one).collect::<Map<_, _>>())
}

fn attempt(op: &str) -> io::Result<Value> {
    let parts: Vec<&str> = op.split(':').collect();
    let done = |r: io::Result<()>| r.map(|()| json!(0));
    match parts[..] {
        ["open", path, "r"] => done(OpenOptions::new().read(true).open(path).map(|_| ())),
        ["open", path, "w"] => done(OpenOptions::new().write(true).open(path).map(|_| ())),
        ["open", path, "rw"] => done(OpenOptions::new().read(true).write(true).open(path).map(|_| ())),
        ["create", path] => done(OpenOptions::new().write(true).create(true).truncate(false).open(path).map(|_| ())),
        ["write", path, text] => done(OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())),
        ["call", number, ref args @ ..] => Ok(crate::calls::by_number(number, args)),
        ["i386", number, ref args @ ..] => Ok(crate::calls::i386(number, args)),
        ["read", path] => read(path),
        ["ls", path] => ls(path),
        ["mkdir", path] => done(fs::create_dir(path)),
        ["unlink", path] => done(fs::remove_file(path)),
        ["link", path] => Ok(json!(fs::read_link(path)?.to_string_lossy())),
        ["stat", path] => stat(path),
        ["magic", path] => Ok(json!(sys::fs_magic(path))),
        ["mknod", path, kind, major, minor] => done(mknod(path, kind, major, minor)),
        ["mount", path, kind] => done(sys::mount("none", path, kind, 0, "")),
        ["bind", from, to] => done(sys::mount(from, to, "", libc::MS_BIND, "")),
        ["remount-rw", path] => done(sys::mount("none", path, "", libc::MS_REMOUNT | libc::MS_BIND, "")),
        ["umount", path] => done(sys::umount(path)),
        ["unshare", "user"] => done(sys::unshare(libc::CLONE_NEWUSER)),
        ["sethostname"] => done(fs::write("/proc/sys/kernel/hostname", "changed")),
        ["kill", pid, signal] => done(sys::kill(number(pid) as i32, number(signal) as i32)),
        ["sleep", ms] => done({
            std::thread::sleep(Duration::from_millis(u64::from(number(ms))));
            Ok(())
        }),
        _ => Ok(json!("no such operation")),
    }
}

fn number(text: &str) -> u32 {
    text.parse().expect("a number")
}

fn read(path: &str) -> io::Result<Value> {
    // Not to the end: /dev/zero has none.
    let mut text = Vec::new();
    fs::File::open(path)?.take(4096).read_to_end(&mut text)?;
    Ok(json!(String::from_utf8_lossy(&text)))
}

fn ls(path: &str) -> io::Result<Value> {
    let mut names: Vec<String> =
        fs::read_dir(path)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(json!(names))
}

fn stat(path: &str) -> io::Result<Value> {
    let m = fs::symlink_metadata(path)?;
    let t = m.file_type();
    let kinds = [
        ("file", t.is_file()),
        ("dir", t.is_dir()),
        ("link", t.is_symlink()),
        ("char", t.is_char_device()),
        ("block", t.is_block_device()),
        ("fifo", t.is_fifo()),
        ("socket", t.is_socket()),
    ];
    let kind = kinds.iter().find(|(_, is)| *is).map(|(name, _)| *name);
    Ok(json!({
        "kind": kind,
        "mode": format!("{:o}", m.mode() & 0o7777),
        "uid": m.uid(),
        "gid": m.gid(),
        "size": m.size(),
        "major": libc::major(m.rdev()),
        "minor": libc::minor(m.rdev()),
    }))
}

fn mknod(path: &str, kind: &str, major: &str, minor: &str) -> io::Result<()> {
    let kind = match kind {
        "c" => libc::S_IFCHR,
        "b" => libc::S_IFBLK,
        _ => libc::S_IFIFO,
    };
    sys::mknod(path, kind | 0o666, number(major), number(minor))
}
