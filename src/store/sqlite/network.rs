//! Refuses network shares: SQLite's locks don't hold there, and two processes damage the file.

use std::{fs, path::Path};

use super::Error;

/// File systems that are another machine's, by the names that Linux gives them; a FUSE one has `fuse.` before it.
const NETWORK: &[&str] = &[
    "9p",
    "afs",
    "beegfs",
    "blobfuse",
    "blobfuse2",
    "ceph",
    "ceph-fuse",
    "cifs",
    "coda",
    "davfs",
    "gcsfuse",
    "glusterfs",
    "gpfs",
    "juicefs",
    "lustre",
    "mount-s3",
    "ncpfs",
    "nfs",
    "nfs4",
    "rclone",
    "s3fs",
    "smb2",
    "smb3",
    "smbfs",
    "sshfs",
];

/// Fails when this absolute path lies on a network share, such as `/home` of an App Service on Linux (Azure Files).
/// Only Linux tells; elsewhere nothing is refused.
pub(super) fn refuse_share(path: &Path) -> Result<(), Error> {
    let Ok(mounts) = fs::read("/proc/self/mountinfo") else {
        return Ok(());
    };
    let mounts = String::from_utf8_lossy(&mounts);
    match file_system(&mounts, path) {
        Some(name) if is_network(name) => Err(Error::Unavailable(
            format!(
                "SCIMGATE_STORE: {} lies on a network share ({name}), where SQLite's locks don't hold; name a path on \
                 a local disk, or use tables:",
                path.display()
            )
            .into(),
        )),
        _ => Ok(()),
    }
}

fn is_network(name: &str) -> bool {
    NETWORK.contains(&name.strip_prefix("fuse.").unwrap_or(name))
}

/// The name of the file system that holds this path: the longest mount point above it; of two equal ones the later,
/// which hides the earlier. Lines of `mountinfo` are described in proc(5).
fn file_system<'a>(mountinfo: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, device) = line.split_once(" - ")?;
        let point = unescape(mount.split(' ').nth(4)?);
        let above = path.starts_with(&point);
        above.then_some((point.len(), device.split(' ').next()?))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, name)| name)
}

/// Blanks, tabs, line ends and backslashes stand in octal.
fn unescape(point: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(point.to_owned(), |text, (octal, plain)| text.replace(octal, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:40 / /home rw,relatime - cifs //files/share rw,vers=3.1.1
24 22 0:41 / /srv/two\\040words rw master:3 propagate_from:2 - nfs4 server:/export rw
25 22 0:42 / /data rw - fuse.sshfs user@server: rw
26 23 254:3 / /home/local rw - xfs /dev/vdb rw
27 22 0:43 / /cover rw - nfs server:/old rw
28 27 254:4 / /cover rw - ext4 /dev/vdc rw
29 22 0:44 / /disk rw - fuseblk /dev/vdd rw
";

    #[track_caller]
    fn check(path: &str, name: &str, network: bool) {
        let found = file_system(MOUNTS, Path::new(path)).unwrap();
        assert_eq!((found, is_network(found)), (name, network), "{path}");
    }

    #[test]
    fn shares_are_told_from_disks() {
        check("/var/lib/scimgate.db", "ext4", false);
        check("/home/scimgate.db", "cifs", true);
        check("/homes/scimgate.db", "ext4", false);
        check("/home/local/scimgate.db", "xfs", false);
        check("/srv/two words/scimgate.db", "nfs4", true);
        check("/data/scimgate.db", "fuse.sshfs", true);
        check("/cover/scimgate.db", "ext4", false);
        check("/disk/scimgate.db", "fuseblk", false);
    }

    #[test]
    fn lines_that_are_no_mounts_are_passed_over() {
        assert_eq!(file_system("", Path::new("/a")), None);
        assert_eq!(file_system("one\n1 2 3 - \n\n", Path::new("/a")), None);
    }
}
