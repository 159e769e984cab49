//! The mount namespace that criu works in. What of the host's a restored
//! container is given is bound there, which criu finds by path, with the
//! attributes and ids that it is to have.
//!
//! criu 4.2 binds what it is given and leaves out to make it read-only where
//! another mount of the same filesystem is so already; and it knows no id-mapped
//! mounts, but what it clones stays one. For the peers of a mount it looks at
//! the whole of the mount that it is given a part of, so of each source all of
//! its mount is bound.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::external::{self, Bind, MASK, device_name, mount_points};
use crate::cgroup;
use crate::criu::{Options, Text};
use crate::error::{Error, Result, Step};
use crate::init::userns;
use crate::spec::plan::{Device, IdMaps, Mount, MountAttr, NamespaceKind, Plan};
use crate::sys;
use crate::sys::mount::{self, FsContext, mount_identity};
use crate::sys::path::{Create, Root};
use crate::sys::procfs::Procfs;

/// The name of the directory for the cgroup hierarchy.
const YARD: &str = "yard";
/// What masks files.
const NULL: &str = "/dev/null";
/// How a directory is opened that is only a place.
pub const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
const INERT: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

/// What of the host's a name in an image stands for.
#[derive(Debug)]
pub struct Stand<'a> {
    /// The name.
    pub name: String,
    /// Its mount, and where it is in that.
    mount: PathBuf,
    inside: PathBuf,
    attr: MountAttr,
    maps: Option<&'a IdMaps>,
    field: String,
}

impl<'a> Stand<'a> {
    fn new(name: String, field: String, source: &Path, nofollow: bool) -> Result<Self> {
        let step = "cannot find what to mount";
        let failed = |e: Error| e.in_field(&field).path(source);
        let path = match (nofollow, source.parent(), source.file_name()) {
            (true, Some(parent), Some(file)) => parent.canonicalize().map(|parent| parent.join(file)),
            _ => source.canonicalize(),
        };
        let path = path.step(step).map_err(failed)?;
        let identity = |path: &Path| {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            open(path, flags, Mode::empty()).and_then(mount_identity)
        };
        let (id, _) = identity(&path).step(step).map_err(failed)?;
        let root = path.ancestors().find(|above| identity(above) == Ok((id, true)));
        // A mount whose root no path leads to, as below another: then just itself.
        let root = root.unwrap_or(&path);
        let inside = path.strip_prefix(root).unwrap_or(Path::new("")).to_owned();
        let (mount, attr) = (root.to_owned(), MountAttr::default());
        Ok(Self { name, mount, inside, attr, maps: None, field })
    }

    fn bind(bind: &Bind<'a>, plan: &'a Plan) -> Result<Self> {
        let m = bind.mount;
        let mut stand = Self::new(bind.name(), format!("{}.source", bind.field()), bind.source, m.src_nofollow)?;
        stand.attr.set = m.attr.set | m.recursive_attr.set;
        stand.attr.clear = m.attr.clear | m.recursive_attr.clear;
        stand.maps = m.id_map.as_ref().map(|id_map| id_map.maps.as_ref().unwrap_or(&plan.ids));
        Ok(stand)
    }

    /// What is mounted below the source of a recursive bind.
    fn inside(bind: &Bind<'a>, points: &[(u64, PathBuf)]) -> Result<Vec<Self>> {
        let source = bind.source.canonicalize().step_at("cannot find what to mount", bind.source)?;
        let below = points.iter().filter_map(|(_, point)| Some((point, point.strip_prefix(&source).ok()?)));
        below
            .filter(|(_, relative)| !relative.as_os_str().is_empty())
            .map(|(point, relative)| {
                let mut stand = Self::new(bind.name_inside(relative), bind.field(), point, true)?;
                stand.attr = bind.mount.recursive_attr;
                Ok(stand)
            })
            .collect()
    }

    /// Where [`stage`] puts it, as the path that criu is given; by its number.
    ///
    /// # Errors
    /// For a path that is not UTF-8.
    pub fn place(&self, directory: &Path, number: usize) -> Result<String> {
        let place = directory.join(number.to_string()).join(&self.inside);
        let text = place.to_str().map(|text| text.trim_end_matches('/').to_owned());
        text.ok_or_else(|| Error::new("criu takes only UTF-8").in_field(&self.field).path(&place))
    }

    /// A clone of its mount, attached nowhere.
    fn tree(&self, proc: &Procfs) -> Result<OwnedFd> {
        let step = "cannot bind for criu";
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let tree = open(&self.mount, flags, Mode::empty()).and_then(|fd| mount::clone_tree(fd, false)).step(step)?;
        if let Some(maps) = self.maps {
            mount::set_id_map(&tree, userns::with_maps(maps, proc)?, false).step(step)?;
        }
        if !self.attr.is_empty() {
            mount::set_attr(&tree, self.attr.set, self.attr.clear, 0, false).step(step)?;
        }
        Ok(tree)
    }
}

/// All that an image may ask for; `added` is a mount that the config does not have.
///
/// # Errors
/// Names the field and the source that is not there.
pub fn stands<'a>(plan: &'a Plan, added: &'a Mount, proc: &Procfs) -> Result<Vec<Stand<'a>>> {
    let mut mask = Stand::new(MASK.to_owned(), "linux.maskedPaths".to_owned(), Path::new(NULL), true)?;
    mask.attr.set = INERT;
    let mut all = vec![mask];
    let points = mount_points(&proc.read(c"self/mountinfo").step("cannot read our mounts")?);
    for bind in external::of_plan(plan).chain(external::binds(std::slice::from_ref(added), true)) {
        all.push(Stand::bind(&bind, plan)?);
        if bind.recursive {
            all.extend(Stand::inside(&bind, &points)?);
        }
    }
    if plan.namespaces.has(NamespaceKind::User) {
        // A device that this host does not have is made as a node, or nobody asks for it.
        let field = |d: &Device| d.index.map_or("default device".to_owned(), |i| format!("linux.devices[{i}]"));
        let device = |d: &Device| Stand::new(device_name(d), field(d), Path::new(&d.path), true).ok();
        all.extend(plan.devices.iter().filter_map(device));
    }
    Ok(all)
}

/// Where criu finds the cgroup hierarchy, for its option of that name; none
/// where there are others of v1, all of which it would want there.
///
/// Mounting it itself, criu (4.2) resets the options of the host's own mount:
/// without `nsdelegate` a container may change its own limits.
pub fn yard(directory: &Path, proc: &Procfs) -> Option<PathBuf> {
    let hierarchies = proc.read(c"self/cgroup").ok()?;
    let only_v2 = hierarchies.starts_with(b"0::") && hierarchies.iter().filter(|b| **b == b'\n').count() == 1;
    (only_v2 && cgroup::mount_point().is_some()).then(|| directory.join(YARD))
}

/// Binds them all into a tmpfs over `directory`, and the cgroup hierarchy: in
/// the mount namespace of the process that becomes criu, and so nowhere else.
///
/// # Errors
/// Names the field, the mount and the errno.
pub fn stage(all: &[Stand<'_>], directory: &Path, proc: &Procfs) -> Result<()> {
    let step = "cannot bind for criu";
    let trees = all.iter().map(|stand| stand.tree(proc).map_err(|e| e.in_field(&stand.field).path(&stand.mount)));
    let trees = trees.collect::<Result<Vec<_>>>()?;
    let onto = open(directory, DIRECTORY, Mode::empty()).step_at(step, directory)?;
    let tmpfs = FsContext::open(c"tmpfs").and_then(|fs| fs.mount(0)).step(step)?;
    let hierarchy = match (yard(directory, proc), cgroup::mount_point()) {
        (Some(_), Some(mount)) => Some(
            open(mount, DIRECTORY, Mode::empty()).and_then(|fd| mount::clone_tree(fd, false)).step_at(step, mount)?,
        ),
        _ => None,
    };
    mount::attach(&tmpfs, &onto).step_at(step, directory)?;
    let root = Root::new(tmpfs);
    let places = trees.iter().enumerate().map(|(number, tree)| (number.to_string(), tree));
    // As criu names it in there.
    let places = places.chain(hierarchy.iter().map(|tree| (format!("{YARD}/unified"), tree)));
    for (place, tree) in places {
        let (to, _) = root.find_or_create(&place, Create::like(tree).step(step)?).step(step)?;
        mount::attach(tree, &to).step(step)?;
    }
    Ok(())
}

/// In the process that becomes criu: a mount namespace of its own, in which the
/// rootfs is a mount. It ends with criu, and nothing of it is ever on the host.
///
/// # Errors
/// The errno of unshare(2), or of what mounts.
pub fn root_as_mount(rootfs: &Path) -> Result<()> {
    let step = "cannot make the rootfs a mount for criu";
    private_mounts().step(step)?;
    let dir = open(rootfs, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()).step_at(step, rootfs)?;
    mount::clone_tree(&dir, true).and_then(|tree| mount::attach(&tree, &dir)).step_at(step, rootfs)
}

/// Tells criu where the cgroup hierarchy will be staged.
///
/// # Errors
/// For a path that is not UTF-8.
pub fn set_yard(options: &mut Options, directory: &Path, proc: &Procfs) -> Result<()> {
    let Some(yard) = yard(directory, proc) else { return Ok(()) };
    let text = yard.to_str().ok_or_else(|| Error::new("criu takes only UTF-8").path(&yard))?;
    options.text(Text::CgroupYard, text);
    Ok(())
}

/// A mount namespace of its own, slave of the one before.
///
/// # Errors
/// The errno of unshare(2) or mount_setattr(2).
pub fn private_mounts() -> nix::Result<()> {
    sys::process::unshare(libc::CLONE_NEWNS as u64)?;
    let slash = open(c"/", DIRECTORY, Mode::empty())?;
    mount::set_attr(&slash, 0, 0, libc::MS_SLAVE, true)
}
