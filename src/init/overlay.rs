//! overlay mounts: long lists of layers, which one fsconfig(2) value cannot hold.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::error::{Error, Result, Step};
use crate::sys::mount::{self, FsContext};

/// The longest value of fsconfig(2), with its NUL.
const MAX_VALUE: usize = 256;

/// A directory that every host has; see [`classic`].
const STAGE: &CStr = c"/proc";

/// Makes an overlay, attached nowhere: by the new API with one `lowerdir+` per
/// layer (Linux 6.8), or by way of mount(2) where the kernel or the length of a
/// path does not allow that.
///
/// # Errors
/// The errno and what the kernel said.
pub fn make(data: &[(CString, Option<CString>)], flags: &[CString], attr: u64) -> Result<OwnedFd> {
    match detached(data, flags, attr)? {
        Some(tree) => Ok(tree),
        None => classic(data, flags, attr),
    }
}

/// `None`: the new API cannot say it.
fn detached(data: &[(CString, Option<CString>)], flags: &[CString], attr: u64) -> Result<Option<OwnedFd>> {
    let context = FsContext::open(c"overlay").map_err(|e| {
        let error = Error::sys("cannot open filesystem type \"overlay\"", e);
        if e == Errno::ENODEV { error.hint("this kernel does not have it") } else { error }
    })?;
    let failed = |e: Errno| {
        let error = Error::sys("cannot mount overlay", e);
        context.complaint().map_or(error.clone(), |text| error.message(text))
    };
    for (key, value) in parameters(data) {
        if value.as_ref().is_some_and(|v| v.as_bytes_with_nul().len() > MAX_VALUE) {
            return Ok(None);
        }
        match context.set(&key, value.as_deref()) {
            Ok(()) => {}
            Err(Errno::EINVAL) if key.as_c_str() == c"lowerdir+" => return Ok(None),
            Err(e) => return Err(failed(e)),
        }
    }
    for flag in flags {
        context.set(flag, None).map_err(failed)?;
    }
    context.mount(attr).map(Some).map_err(failed)
}

/// `lowerdir=a:b` as a `lowerdir+` for each layer, the rest as it is.
fn parameters(data: &[(CString, Option<CString>)]) -> Vec<(CString, Option<CString>)> {
    let mut out = Vec::with_capacity(data.len());
    for (key, value) in data {
        match value {
            Some(value) if key.as_c_str() == c"lowerdir" => {
                out.extend(layers(value).into_iter().map(|layer| (c"lowerdir+".to_owned(), Some(layer))));
            }
            _ => out.push((key.clone(), value.clone())),
        }
    }
    out
}

/// Splits at colons that no backslash protects, and takes the backslashes out.
fn layers(value: &CStr) -> Vec<CString> {
    let mut layers = vec![Vec::new()];
    let mut bytes = value.to_bytes().iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => layers.push(Vec::new()),
            b'\\' => layers.last_mut().into_iter().for_each(|l| l.extend(bytes.next())),
            _ => layers.last_mut().into_iter().for_each(|l| l.push(*byte)),
        }
    }
    // The bytes come from a C string, so there is no NUL among them.
    layers.into_iter().filter(|l| !l.is_empty()).filter_map(|l| CString::new(l).ok()).collect()
}

fn classic(data: &[(CString, Option<CString>)], flags: &[CString], attr: u64) -> Result<OwnedFd> {
    let step = "cannot mount overlay";
    let words: Vec<Vec<u8>> = data
        .iter()
        .map(|(key, value)| match value {
            Some(value) => [key.to_bytes(), b"=", value.to_bytes()].concat(),
            None => key.to_bytes().to_vec(),
        })
        .collect();
    let options = CString::new(words.join(&b',')).map_err(|_| Error::new(step).message("NUL byte in the options"))?;
    let read_only = flags.iter().any(|f| f.as_c_str() == c"ro");
    let ms = if read_only { libc::MS_RDONLY } else { 0 };
    // mount(2) wants a path. It gets one of the host's own, in this new mount
    // namespace, for as long as it takes to clone the mount from there: the
    // hostile rootfs is still only reached by fd. Private first: as a peer of
    // the host's (rootfsPropagation shared) it would carry the overlay there,
    // and the image's files would be the host's /proc for that time.
    let open = || nix::fcntl::open(STAGE, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    open().and_then(|fd| mount::set_attr(&fd, 0, 0, libc::MS_PRIVATE, false)).step(step)?;
    mount::mount_classic(c"overlay", STAGE, c"overlay", ms, &options).map_err(|e| Error::sys(step, e))?;
    let tree = open().and_then(|fd| mount::clone_tree(&fd, false)).step(step)?;
    nix::mount::umount2(STAGE, nix::mount::MntFlags::MNT_DETACH).step("cannot unmount the staged overlay")?;
    mount::set_attr(&tree, attr, 0, 0, false).step("cannot set mount attributes")?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_split_and_unescaped() {
        assert_eq!(layers(c"/a:/b\\:c:/d"), [c"/a".to_owned(), c"/b:c".to_owned(), c"/d".to_owned()]);
    }
}
