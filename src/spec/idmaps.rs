//! Id-mapped mounts: `idmap` and `ridmap`, and where their maps come from
//! (runtime-spec config.md, "Mounts"; mount_setattr(2), "ID-mapped mounts").

use oci_spec::runtime::{LinuxIdMapping, Mount as SpecMount};

use super::faults::Faults;
use super::mounts::Context;
use super::namespaces::{check_map, id_map};
use super::plan::{IdMaps, IdMount, IdRange, MountKind};

/// What the options of a mount say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Index of the option, for messages.
    pub option: usize,
    /// `ridmap`.
    pub recursive: bool,
    /// What follows `idmap=`.
    pub maps: Option<String>,
}

impl Wanted {
    /// From an option that is one of these, also with maps of its own (crun's form).
    pub fn parse(option: &str, index: usize) -> Option<Self> {
        let (name, maps) = option.split_once('=').map_or((option, None), |(n, m)| (n, Some(m)));
        let recursive = match name {
            "idmap" => false,
            "ridmap" => true,
            _ => return None,
        };
        Some(Self { option: index, recursive, maps: maps.map(str::to_owned) })
    }
}

/// Resolves what a mount says of ids.
pub(crate) fn resolve(
    mount: &SpecMount,
    wanted: Option<&Wanted>,
    kind: &MountKind,
    cx: &Context<'_>,
    at: &str,
    faults: &mut Faults,
) -> Option<IdMount> {
    let given = own_maps(mount, at, faults);
    let option = wanted.map(|w| format!("{at}.options[{}]", w.option));
    let place = option.clone().unwrap_or_else(|| format!("{at}.uidMappings"));
    if wanted.is_none() && given.is_none() {
        return None;
    }
    if !matches!(kind, MountKind::Bind { .. }) {
        faults.add(place, "only bind mounts can be id-mapped");
        return None;
    }
    let text = wanted.and_then(|w| w.maps.as_deref());
    let maps = match (given, text) {
        (Some(_), Some(_)) => {
            faults.add(place, "uidMappings and gidMappings are given as well");
            None
        }
        (Some(maps), None) => Some(maps),
        (None, Some(text)) => match from_text(text, cx.ids) {
            Ok(maps) => {
                check_map(&place, &maps.uid, faults);
                check_map(&place, &maps.gid, faults);
                Some(maps)
            }
            Err(message) => {
                faults.add(place, message);
                None
            }
        },
        (None, None) if !cx.userns => {
            faults.add(place, "needs uidMappings and gidMappings, as the container has no user namespace");
            None
        }
        (None, None) => None,
    };
    Some(IdMount { maps, recursive: wanted.is_some_and(|w| w.recursive) })
}

/// `uidMappings` and `gidMappings` of the mount: both or none.
fn own_maps(mount: &SpecMount, at: &str, faults: &mut Faults) -> Option<IdMaps> {
    let (uid, gid) = (mount.uid_mappings(), mount.gid_mappings());
    let mut one = |name: &str, given: &Option<Vec<LinuxIdMapping>>, other: bool| {
        let at = format!("{at}.{name}");
        let ranges = given.as_deref().unwrap_or_default();
        if ranges.is_empty() && other {
            faults.add(&at, "missing: users and groups are mapped together");
        }
        id_map(&at, ranges, faults)
    };
    let some = |given: &Option<Vec<LinuxIdMapping>>| given.as_ref().is_some_and(|m| !m.is_empty());
    let maps = IdMaps { uid: one("uidMappings", uid, some(gid)), gid: one("gidMappings", gid, some(uid)) };
    (!maps.is_empty()).then_some(maps)
}

/// `uids=0-1000-10#10-2000-5;gids=@0-0-10`: first id on the filesystem, first
/// id it is shown as, how many. With `@` the second is one of the container's.
fn from_text(text: &str, container: &IdMaps) -> Result<IdMaps, String> {
    let mut maps = IdMaps::default();
    for part in text.split(';').filter(|p| !p.is_empty()) {
        let (name, ranges) = part.split_once('=').ok_or_else(|| format!("{part:?} is neither uids= nor gids="))?;
        let (map, of) = match name {
            "uids" => (&mut maps.uid, &container.uid),
            "gids" => (&mut maps.gid, &container.gid),
            _ => return Err(format!("{name:?} is neither uids nor gids")),
        };
        for range in ranges.split('#').filter(|r| !r.is_empty()) {
            map.push(one_range(range, of)?);
        }
    }
    match maps.uid.is_empty() || maps.gid.is_empty() {
        true => Err("needs uids= and gids=".to_owned()),
        false => Ok(maps),
    }
}

fn one_range(text: &str, container: &[IdRange]) -> Result<IdRange, String> {
    let bad = || format!("{text:?} is not FIRST-FIRST-COUNT");
    let (relative, numbers) = text.strip_prefix('@').map_or((false, text), |rest| (true, rest));
    let parsed: Option<Vec<u32>> = numbers.split('-').map(|n| n.parse().ok()).collect();
    let Some([container_id, host, size]) = parsed.as_deref() else { return Err(bad()) };
    let host = match relative {
        false => *host,
        true => {
            let first = IdMaps::on_host(container, *host);
            let last = host.checked_add(size.saturating_sub(1)).and_then(|last| IdMaps::on_host(container, last));
            match (first, last) {
                (Some(first), Some(last)) if last.checked_sub(first) == Some(size.saturating_sub(1)) => first,
                _ => return Err(format!("{text:?}: the container's own map does not have these ids in one range")),
            }
        }
    };
    Ok(IdRange { container: *container_id, host, size: *size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(container: u32, host: u32, size: u32) -> IdRange {
        IdRange { container, host, size }
    }

    #[test]
    fn texts_are_maps() {
        let own = IdMaps { uid: vec![range(0, 100_000, 10), range(10, 500, 5)], gid: vec![range(0, 7, 1)] };
        let maps = from_text("uids=0-1-10#@3-2-5;gids=@0-0-1", &own).unwrap();
        assert_eq!(maps, IdMaps { uid: vec![range(0, 1, 10), range(3, 100_002, 5)], gid: vec![range(0, 7, 1)] });
        for bad in
            ["", "uids=0-1-2", "uids=0-1;gids=0-0-1", "x=1-2-3", "uids=a-1-2;gids=0-0-1", "uids=@0-8-5;gids=0-0-1"]
        {
            assert!(from_text(bad, &own).is_err(), "{bad}");
        }
    }
}
