//! Against a directory that looks like resctrl. The kernel fills a new group
//! with files; here the tests do, between one step and the next.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

static NEXT: AtomicU32 = AtomicU32::new(0);

const DEFAULT: &str = "    MB:0= 100;1= 100\n    L3:0=fffff;1=fffff\n";

struct Fake(PathBuf);

impl Fake {
    fn new() -> Self {
        let name = format!("orlop-rdt-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let fake = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(fake.0.join("info")).unwrap();
        fs::write(fake.0.join("info/last_cmd_status"), "ok\n").unwrap();
        fake.fill("");
        fake
    }

    /// What the kernel puts into a group.
    fn fill(&self, group: &str) {
        let dir = self.0.join(group);
        fs::create_dir_all(dir.join("mon_groups")).unwrap();
        fs::write(dir.join("tasks"), "").unwrap();
        fs::write(dir.join("schemata"), DEFAULT).unwrap();
    }

    /// rmdir(2) of a group does this in resctrl.
    fn empty(&self, group: &str) {
        let dir = self.0.join(group);
        fs::remove_file(dir.join("tasks")).unwrap();
        fs::remove_file(dir.join("schemata")).unwrap();
        fs::remove_dir(dir.join("mon_groups")).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }

    fn plan(&self, clos: Option<&str>, lines: &[RdtLine], monitoring: bool) -> Result<Target, String> {
        let asked = RdtPlan { clos: clos.map(str::to_owned), lines: lines.to_vec(), monitoring };
        plan(&self.0, &asked, "c1").map_err(|e| e.to_string())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn line(text: &str, must_match: bool) -> RdtLine {
    RdtLine { field: "linux.intelRdt.x".to_owned(), text: text.to_owned(), must_match }
}

#[test]
fn a_group_named_after_the_container() {
    let fake = Fake::new();
    let mut target = fake.plan(None, &[], true).unwrap();
    assert!(!fake.0.join("c1").exists(), "planning touches nothing");
    // The monitoring group cannot be made yet, and then all of it is undone.
    let e = target.make(&[]).unwrap_err().to_string();
    assert!(e.contains("linux.intelRdt.enableMonitoring: ") && e.contains("mon_groups/c1"), "{e}");
    target.undo().unwrap();
    assert!(!fake.0.join("c1").exists());

    let mut target = fake.plan(None, &[], false).unwrap();
    target.make(&[]).unwrap();
    fake.fill("c1");
    target.set(&[line("L3:0=f", true), line("MB:0=20", true)]).unwrap();
    target.add(4711).unwrap();
    assert!(fake.text("c1/schemata").starts_with("L3:0=f\nMB:0=20\n"), "{}", fake.text("c1/schemata"));
    assert_eq!((fake.text("c1/tasks").as_str(), fake.text("tasks").as_str()), ("4711", ""));
    fake.empty("c1");
    let saved: Target = serde_json::from_str(&serde_json::to_string(&target).unwrap()).unwrap();
    saved.remove().unwrap();
    assert!(!fake.0.join("c1").exists());
    saved.remove().unwrap();
}

#[test]
fn one_that_is_there_without_a_clos_id_stays() {
    let fake = Fake::new();
    fake.fill("c1");
    let mut target = fake.plan(None, &[line("L3:0=1", true)], false).unwrap();
    target.make(&[line("L3:0=1", true)]).unwrap();
    target.undo().unwrap();
    target.remove().unwrap();
    assert!(fake.text("c1/schemata").starts_with("L3:0=1\n"));
    // But one that turns up after we have looked is a surprise.
    let mut target = Fake::new().plan(None, &[], false).unwrap();
    target.path = fake.0.join("c1");
    let e = target.make(&[]).unwrap_err().to_string();
    assert!(e.starts_with("cannot make the resctrl group: linux.intelRdt: ") && e.contains("file exists"), "{e}");
    target.undo().unwrap();
    assert!(fake.0.join("c1").exists());
}

#[test]
fn a_group_that_is_there_must_agree() {
    let fake = Fake::new();
    fake.fill("gold");
    fs::write(fake.0.join("gold/schemata"), "    MB:0= 20;1= 70\n    L3:0=007f0;1=0001f\n").unwrap();
    for good in [&["L3:0=7f0;1=1f"][..], &["L3:1=1F"], &["MB:1=70;0=20", "L3:0=0x7f0"]] {
        let lines: Vec<_> = good.iter().map(|text| line(text, true)).collect();
        fake.plan(Some("gold"), &lines, false).unwrap();
    }
    for bad in ["L3:0=7f1", "L3:2=1f", "MB:0=7", "L2:0=f"] {
        let e = fake.plan(Some("gold"), &[line(bad, true)], false).unwrap_err();
        assert!(e.contains(&format!("linux.intelRdt.x: {}/gold/schemata: ", fake.0.display())), "{e}");
        assert!(e.contains(&format!("{bad:?} is not what this group has")), "{e}");
        // `schemata` is written, not compared.
        fake.plan(Some("gold"), &[line(bad, false)], false).unwrap();
    }
    let mut target = fake.plan(Some("gold"), &[], true).unwrap();
    target.make(&[]).unwrap();
    assert!(fake.text("gold/schemata").starts_with("    MB:0= 20;"), "nothing asked for, nothing written");
    fs::write(fake.0.join("gold/mon_groups/c1/tasks"), "").unwrap();
    target.add(12).unwrap();
    assert_eq!([fake.text("gold/tasks"), fake.text("gold/mon_groups/c1/tasks")], ["12", "12"]);
    fs::remove_file(fake.0.join("gold/mon_groups/c1/tasks")).unwrap();
    target.remove().unwrap();
    assert!(fake.0.join("gold").exists() && !fake.0.join("gold/mon_groups/c1").exists());
}

#[test]
fn a_group_made_for_a_clos_id_is_left_to_others() {
    let fake = Fake::new();
    let e = fake.plan(Some("gold"), &[], true).unwrap_err();
    assert!(e.starts_with("linux.intelRdt.closID: ") && e.contains("there is no such group"), "{e}");
    let lines = [line("L3:0=f", true)];
    let make = || {
        let mut target = fake.plan(Some("gold"), &lines, false).unwrap();
        // The files come too late here.
        assert!(target.make(&lines).is_err());
        fake.fill("gold");
        target
    };
    let target = make();
    target.remove().unwrap();
    assert!(fake.0.join("gold").exists(), "delete leaves it");
    // A create that fails does not, unless somebody is in it by now.
    fs::write(fake.0.join("gold/tasks"), "1\n").unwrap();
    target.undo().unwrap();
    assert!(fake.0.join("gold").exists());
    fs::write(fake.0.join("gold/tasks"), "").unwrap();
    let e = target.undo().unwrap_err();
    assert_eq!(e.raw_errno(), Some(libc::ENOTEMPTY), "it tries, and a fake has files in it");
    // Made by somebody else since we looked, and not what we want.
    fake.empty("gold");
    fs::remove_dir(fake.0.join("gold")).unwrap();
    let mut target = fake.plan(Some("gold"), &lines, false).unwrap();
    fake.fill("gold");
    let e = target.make(&lines).unwrap_err().to_string();
    assert!(e.contains("is not what this group has"), "{e}");
    assert_eq!(fake.text("gold/schemata"), DEFAULT);
}

#[test]
fn the_default_group() {
    let fake = Fake::new();
    let mut target = fake.plan(Some("/"), &[], false).unwrap();
    target.make(&[]).unwrap();
    target.add(5).unwrap();
    assert_eq!((fake.text("tasks").as_str(), fake.text("schemata").as_str()), ("5", DEFAULT));
    target.undo().unwrap();
    target.remove().unwrap();
    assert!(fake.0.join("tasks").exists());
}

#[test]
fn updates_and_their_undoing() {
    let fake = Fake::new();
    fake.fill("c1");
    let target = fake.plan(None, &[], false).unwrap();
    let old = target.update(&[line("MB:0=20", true)]).unwrap();
    let old: Vec<_> = old.into_iter().map(|l| l.text).collect();
    assert_eq!(old, ["MB:0= 100;1= 100"]);
    assert!(fake.text("c1/schemata").starts_with("MB:0=20\n"));
}

#[test]
fn what_resctrl_says() {
    let fake = Fake::new();
    let target = fake.plan(Some("/"), &[], false).unwrap();
    fs::remove_file(fake.0.join("schemata")).unwrap();
    fs::write(fake.0.join("info/last_cmd_status"), "Unknown or unsupported resource name 'L9'\n").unwrap();
    let e = target.set(&[line("L9:0=1", false)]).unwrap_err().to_string();
    assert!(e.starts_with("cannot set the schemata: linux.intelRdt.x: "), "{e}");
    assert!(e.contains("resctrl says \"Unknown or unsupported resource name 'L9'\": no such file"), "{e}");
}

#[test]
fn statistics() {
    let fake = Fake::new();
    let put = |path: &str, text: &str| {
        let path = fake.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (file, text) in [("cbm_mask", "fffff\n"), ("min_cbm_bits", "2\n"), ("num_closids", "16\n")] {
        put(&format!("info/L3/{file}"), text);
    }
    fake.fill("c1");
    let json = |target: &Target| serde_json::to_value(target.stats()).unwrap();
    put("c1/schemata", "    L3:0=f;1=f\n");
    put("c1/mon_data/mon_L3_00/llc_occupancy", "4096\n");
    put("c1/mon_data/mon_L3_00/mbm_total_bytes", "70\n");
    put("c1/mon_data/mon_L3_00/mbm_local_bytes", "30\n");
    put("c1/mon_data/mon_L3_01/llc_occupancy", "Unavailable\n");
    let wanted = serde_json::json!({
        "l3_cache_info": {"cbm_mask": "fffff", "min_cbm_bits": 2, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=fffff;1=fffff", "l3_cache_schema": "L3:0=f;1=f",
        "mem_bw_schema_root": "MB:0= 100;1= 100", "schemata": ["L3:0=f;1=f"],
        "mbm_stats": [{"mbm_total_bytes": 70, "mbm_local_bytes": 30}], "cmt_stats": [{"llc_occupancy": 4096}]
    });
    assert_eq!(json(&fake.plan(None, &[], false).unwrap()), wanted);
    // Others are counted in a group with a closID, unless the container has its own part.
    let shared = json(&fake.plan(Some("c1"), &[], false).unwrap());
    assert!(shared.get("mbm_stats").is_none() && shared.get("cmt_stats").is_none(), "{shared}");
    put("c1/mon_groups/c1/mon_data/mon_L3_00/llc_occupancy", "8\n");
    let own = json(&fake.plan(Some("c1"), &[], true).unwrap());
    assert_eq!(own["cmt_stats"], serde_json::json!([{"llc_occupancy": 8}]));
}

#[test]
fn names_that_cannot_be_groups() {
    let fake = Fake::new();
    let asked = RdtPlan::default();
    for id in ["info", "mon_groups", "mon_data"] {
        let e = plan(&fake.0, &asked, id).unwrap_err().to_string();
        assert!(e.starts_with("linux.intelRdt: ") && e.contains("cannot be the name"), "{e}");
    }
}

#[test]
fn where_it_is_mounted() {
    let find = |text: &str| find_mount(text.as_bytes());
    let line = "31 23 0:27 / /sys/fs/resctrl rw,nosuid shared:9 - resctrl resctrl rw";
    assert_eq!(find(line), Some("/sys/fs/resctrl".into()));
    let odd = "1 2 0:3 / / rw - ext4 resctrl rw\n31 23 0:27 / /a\\040b\\134 rw - resctrl none rw\n";
    assert_eq!(find(odd), Some("/a b\\".into()));
    // A group bound elsewhere is not the filesystem.
    assert_eq!(find("31 23 0:27 /gold /x rw - resctrl none rw"), None);
    assert_eq!(find("1 2 0:3 / /sys/fs/resctrl rw - tmpfs resctrl rw\n\nrubbish"), None);
}
