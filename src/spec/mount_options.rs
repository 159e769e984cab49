//! The table of mount options: what the parser knows, and so what `features` lists.

use libc::{
    MOUNT_ATTR__ATIME as ATIME, MOUNT_ATTR_NOATIME as NOATIME, MOUNT_ATTR_NODEV as NODEV,
    MOUNT_ATTR_NODIRATIME as NODIRATIME, MOUNT_ATTR_NOEXEC as NOEXEC, MOUNT_ATTR_NOSUID as NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW as NOSYMFOLLOW, MOUNT_ATTR_RDONLY as RDONLY, MOUNT_ATTR_RELATIME as RELATIME,
    MOUNT_ATTR_STRICTATIME as STRICTATIME,
};

use super::plan::MountAttr;

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Known, but there is nothing to tell the kernel: `defaults`, and what the
    /// mount API has no equivalent for. `iversion`, `silent` and their
    /// opposites are flags of the old mount(2) only; `rsync`, `rasync`,
    /// `rdirsync`, `rmand` and `rnomand` are about a superblock, which has no
    /// tree to recurse into.
    Nothing,
    /// `bind` and `rbind`.
    Bind {
        /// The whole tree.
        recursive: bool,
    },
    /// `remount`.
    Remount,
    /// Sets or clears an attribute, of the mount or of its whole tree.
    Attr(Change, Depth),
    /// A superblock flag by its fsconfig(2) name; flags of one group exclude each other.
    Super(&'static str, Group),
    /// `MS_SHARED` and the like.
    Propagation(u64, Depth),
    /// `tmpcopyup`.
    TmpCopyUp,
    /// `copy-symlink`.
    CopySymlink,
    /// `src-nofollow`.
    SrcNoFollow,
    /// `dest-nofollow`.
    DestNoFollow,
}

/// Options that are no entry of the table: they may have maps with them.
pub(crate) const ID_MAP: [&str; 2] = ["idmap", "ridmap"];

/// How an attribute changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// On.
    Set(u64),
    /// Off.
    Clear(u64),
    /// This access-time mode instead of any other.
    Atime(u64),
    /// Not this access-time mode: the kernel's default, unless another was chosen.
    NotAtime(u64),
}

/// One mount or the tree below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// This mount alone.
    One,
    /// The whole tree.
    Tree,
}

/// Superblock flags that exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// `sync`, `async`
    Sync,
    /// `dirsync`
    DirSync,
    /// `mand`, `nomand`
    Mand,
    /// `lazytime`, `nolazytime`
    LazyTime,
}

impl Change {
    /// Applies the change; a later one wins over an earlier opposite.
    pub fn apply(self, attr: &mut MountAttr) {
        let (set, clear) = match self {
            Self::Set(bit) => (bit, 0),
            Self::Clear(bit) => (0, bit),
            Self::Atime(mode) => {
                attr.set &= !ATIME;
                attr.set |= mode;
                attr.clear |= ATIME;
                return;
            }
            Self::NotAtime(mode) if attr.clear & ATIME == 0 || attr.set & ATIME == mode => {
                return Self::Atime(RELATIME).apply(attr);
            }
            Self::NotAtime(_) => return,
        };
        attr.set = (attr.set & !clear) | set;
        attr.clear = (attr.clear & !set) | clear;
    }
}

const fn on(bit: u64) -> Action {
    Action::Attr(Change::Set(bit), Depth::One)
}
const fn off(bit: u64) -> Action {
    Action::Attr(Change::Clear(bit), Depth::One)
}
const fn tree_on(bit: u64) -> Action {
    Action::Attr(Change::Set(bit), Depth::Tree)
}
const fn tree_off(bit: u64) -> Action {
    Action::Attr(Change::Clear(bit), Depth::Tree)
}
const fn atime(mode: u64, depth: Depth) -> Action {
    Action::Attr(Change::Atime(mode), depth)
}
const fn not_atime(mode: u64, depth: Depth) -> Action {
    Action::Attr(Change::NotAtime(mode), depth)
}

use Action::{Nothing, Super};
use Depth::{One, Tree};

/// Every option that is not passed on to the filesystem, in alphabetical order.
pub(crate) const OPTIONS: &[(&str, Action)] = &[
    ("async", Super("async", Group::Sync)),
    ("atime", not_atime(NOATIME, One)),
    ("bind", Action::Bind { recursive: false }),
    ("copy-symlink", Action::CopySymlink),
    ("defaults", Nothing),
    ("dest-nofollow", Action::DestNoFollow),
    ("dev", off(NODEV)),
    ("diratime", off(NODIRATIME)),
    ("dirsync", Super("dirsync", Group::DirSync)),
    ("exec", off(NOEXEC)),
    ("iversion", Nothing),
    ("lazytime", Super("lazytime", Group::LazyTime)),
    ("loud", Nothing),
    ("mand", Super("mand", Group::Mand)),
    ("noatime", atime(NOATIME, One)),
    ("nodev", on(NODEV)),
    ("nodiratime", on(NODIRATIME)),
    ("noexec", on(NOEXEC)),
    ("noiversion", Nothing),
    ("nolazytime", Super("nolazytime", Group::LazyTime)),
    ("nomand", Super("nomand", Group::Mand)),
    ("norelatime", not_atime(RELATIME, One)),
    ("nostrictatime", not_atime(STRICTATIME, One)),
    ("nosuid", on(NOSUID)),
    ("nosymfollow", on(NOSYMFOLLOW)),
    ("private", Action::Propagation(libc::MS_PRIVATE, One)),
    ("rasync", Nothing),
    ("ratime", not_atime(NOATIME, Tree)),
    ("rbind", Action::Bind { recursive: true }),
    ("rdev", tree_off(NODEV)),
    ("rdiratime", tree_off(NODIRATIME)),
    ("rdirsync", Nothing),
    ("relatime", atime(RELATIME, One)),
    ("remount", Action::Remount),
    ("rexec", tree_off(NOEXEC)),
    ("rmand", Nothing),
    ("rnoatime", atime(NOATIME, Tree)),
    ("rnodev", tree_on(NODEV)),
    ("rnodiratime", tree_on(NODIRATIME)),
    ("rnoexec", tree_on(NOEXEC)),
    ("rnomand", Nothing),
    ("rnorelatime", not_atime(RELATIME, Tree)),
    ("rnostrictatime", not_atime(STRICTATIME, Tree)),
    ("rnosuid", tree_on(NOSUID)),
    ("rnosymfollow", tree_on(NOSYMFOLLOW)),
    ("ro", on(RDONLY)),
    ("rprivate", Action::Propagation(libc::MS_PRIVATE, Tree)),
    ("rrelatime", atime(RELATIME, Tree)),
    ("rro", tree_on(RDONLY)),
    ("rrw", tree_off(RDONLY)),
    ("rshared", Action::Propagation(libc::MS_SHARED, Tree)),
    ("rslave", Action::Propagation(libc::MS_SLAVE, Tree)),
    ("rstrictatime", atime(STRICTATIME, Tree)),
    ("rsuid", tree_off(NOSUID)),
    ("rsymfollow", tree_off(NOSYMFOLLOW)),
    ("rsync", Nothing),
    ("runbindable", Action::Propagation(libc::MS_UNBINDABLE, Tree)),
    ("rw", off(RDONLY)),
    ("shared", Action::Propagation(libc::MS_SHARED, One)),
    ("silent", Nothing),
    ("slave", Action::Propagation(libc::MS_SLAVE, One)),
    ("src-nofollow", Action::SrcNoFollow),
    ("strictatime", atime(STRICTATIME, One)),
    ("suid", off(NOSUID)),
    ("symfollow", off(NOSYMFOLLOW)),
    ("sync", Super("sync", Group::Sync)),
    ("tmpcopyup", Action::TmpCopyUp),
    ("unbindable", Action::Propagation(libc::MS_UNBINDABLE, One)),
];

/// What an option does; `None` if it is the filesystem's business.
pub(crate) fn find(option: &str) -> Option<Action> {
    let at = OPTIONS.binary_search_by(|(name, _)| (*name).cmp(option)).ok()?;
    OPTIONS.get(at).map(|(_, action)| *action)
}

/// The propagation an option or `linux.rootfsPropagation` names.
pub(crate) fn propagation(name: &str) -> Option<super::plan::Propagation> {
    match find(name)? {
        Action::Propagation(kind, depth) => Some(super::plan::Propagation { kind, recursive: depth == Tree }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(options: &[&str]) -> (u64, u64) {
        let mut attr = MountAttr::default();
        for option in options {
            if let Some(Action::Attr(change, _)) = find(option) {
                change.apply(&mut attr);
            }
        }
        (attr.set, attr.clear)
    }

    #[test]
    fn the_table_can_be_searched() {
        assert!(OPTIONS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(OPTIONS.iter().all(|(name, action)| find(name) == Some(*action)));
        assert_eq!(find("size=1k"), None);
    }

    #[test]
    fn the_later_option_wins() {
        assert_eq!(attr(&["ro", "rw"]), (0, RDONLY));
        assert_eq!(attr(&["rw", "ro", "nosuid"]), (RDONLY | NOSUID, 0));
        assert_eq!(attr(&["exec", "suid", "dev"]), (0, NOEXEC | NOSUID | NODEV));
        assert_eq!(attr(&["defaults", "silent"]), (0, 0));
    }

    #[test]
    fn access_time_modes_exclude_each_other() {
        assert_eq!(attr(&["noatime"]), (NOATIME, ATIME));
        assert_eq!(attr(&["noatime", "strictatime"]), (STRICTATIME, ATIME));
        assert_eq!(attr(&["strictatime", "relatime"]), (0, ATIME));
        assert_eq!(attr(&["noatime", "atime"]), (0, ATIME));
        assert_eq!(attr(&["atime"]), (0, ATIME));
        // `atime` takes back `noatime`, not another mode.
        assert_eq!(attr(&["strictatime", "atime"]), (STRICTATIME, ATIME));
        assert_eq!(attr(&["strictatime", "nodiratime"]), (STRICTATIME | NODIRATIME, ATIME));
    }
}
