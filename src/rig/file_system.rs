//! What a directory stands on, by the number that statfs(2) gives: what stays in memory proves nothing
//! about a disk.
//!
//! Source: `linux/magic.h`; for ZFS, which is not in there, `ZFS_SUPER_MAGIC` of its own sources.

/// A kind of file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// Its name; `0x` and the number in hexadecimal for one that is not known here.
    pub(crate) name: String,
    /// True where nothing is ever written to a disk.
    pub(crate) is_memory: bool,
}

impl FileSystem {
    /// The one with this number, whose width and sign depend on the architecture.
    pub(crate) fn numbered(number: impl Into<i128>) -> FileSystem {
        let number = number.into() & 0xffff_ffff;
        let known = KNOWN.iter().find(|(known, ..)| *known == number);
        let name = known.map_or_else(|| format!("{number:#x}"), |(_, name)| (*name).to_owned());
        let is_memory = MEMORY.contains(&name.as_str());
        FileSystem { name, is_memory }
    }

    /// Its name, and what follows from it.
    pub(crate) fn describe(&self) -> String {
        if self.is_memory {
            format!("{}: memory, which proves nothing about a disk", self.name)
        } else {
            self.name.clone()
        }
    }
}

const KNOWN: &[(i128, &str)] = &[
    (0xef53, "ext2/3/4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0x6969, "nfs"),
    (0x794c_7630, "overlay"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
];

const MEMORY: &[&str] = &["tmpfs", "ramfs"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_distinguished_from_disks() {
        for (number, name, is_memory) in [
            (0x0102_1994_i64, "tmpfs", true),
            (0x8584_58f6, "ramfs", true),
            (0xef53, "ext2/3/4", false),
            (0x1234, "0x1234", false),
        ] {
            let name = name.to_owned();
            let expected = FileSystem { name, is_memory };
            assert_eq!(FileSystem::numbered(number), expected);
        }
    }
}
