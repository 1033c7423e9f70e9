//! What the machine says to a configuration: files, directories and programs as they are now, and which addresses are
//! its own.
//!
//! What can never work is a mistake. What may be there later, as a directory that is mounted or a program that is
//! installed, is a warning: the server starts, and events wait in the journal until it is there.

use super::Config;
use super::finding::Location;
use super::reader::Reading;
use ::http::Uri;
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread;

/// Where the journal is to be.
pub(super) fn data_dir(reading: &mut Reading<'_>, place: &Location, path: &Path) {
    let shown = path.display();
    let there = path.ancestors().map(|it| {
        if it.as_os_str().is_empty() {
            Path::new(".")
        } else {
            it
        }
    });
    // A link that leads nowhere is there, too, and nothing can be made in its place.
    let Some((nearest, metadata)) = there.into_iter().find_map(|it| {
        fs::symlink_metadata(it)
            .ok()
            .map(|_| (it, fs::metadata(it)))
    }) else {
        return;
    };
    let Ok(metadata) = metadata else {
        let link = nearest.display();
        let message = format!(
            "the data directory {shown} cannot be used: {link} is a symbolic link to what is not there; make the \
             directory that it points to, or name another"
        );
        return reading.mistake(place, message);
    };
    if !metadata.is_dir() {
        let is = if nearest == path {
            "it"
        } else {
            "something above it"
        };
        let message = format!(
            "the data directory {shown} cannot be used: {is} is no directory; name another, or move that away"
        );
        reading.mistake(place, message);
    } else if let Some(why) = unusable(nearest) {
        let message = format!("the data directory {shown} cannot be used: {why}");
        reading.mistake(place, message);
    } else if let Some(denied) = denied(nearest, nearest == path) {
        let (denied, me, owner) = (denied.display(), geteuid(), metadata.uid());
        // Who serves is known by the directory, once it is there, or by the one that lets nobody else look.
        let may_look = rustix::fs::access(nearest, Access::EXEC_OK).is_ok();
        if (nearest == path || !may_look) && owner != me.as_raw() {
            let message = format!(
                "this is {}, who may not write to {denied}, and the data directory {shown} belongs to {}: only that one, or \
                 root, can serve there",
                user(me.as_raw()),
                user(owner)
            );
            return reading.warning(place, message);
        }
        let message = format!(
            "{} may not write to {denied}, so the data directory {shown} cannot be used: give that to the user that serves \
             (chown, chmod u+rwX), or name another",
            user(me.as_raw())
        );
        reading.mistake(place, message);
    } else if nearest == path && metadata.mode() & 0o002 != 0 {
        let message = format!(
            "everybody on this machine can change what is in the data directory {shown}: chmod 700 it"
        );
        reading.warning(place, message);
    }
}

/// Why nobody can make files in this directory, whatever its permissions are.
fn unusable(dir: &Path) -> Option<&'static str> {
    let kept = rustix::fs::statfs(dir)
        .is_ok_and(|it| !KERNELS.contains(&u64::try_from(it.f_type).unwrap_or(0)));
    let why = if kept {
        "its file system is mounted read-only; name another, or mount that for writing"
    } else {
        "what the kernel shows in /proc and /sys keeps no files; name another"
    };
    let read_only = rustix::fs::access(dir, Access::WRITE_OK) == Err(Errno::ROFS);
    (read_only || !kept).then_some(why)
}

/// What of this directory a server could not use: itself, or what is journal in it.
fn denied(dir: &Path, is_data_dir: bool) -> Option<PathBuf> {
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    let is_denied = |path: &Path, access| rustix::fs::access(path, access) == Err(Errno::ACCESS);
    if is_denied(dir, all) {
        return Some(dir.to_owned());
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut entries = entries.filter(|_| is_data_dir);
    let denied = entries.find(|entry| {
        let name = entry.file_name();
        let is_journal =
            name == "LOCK" || name == "manifest" || name.as_encoded_bytes().ends_with(b".segment");
        is_journal && is_denied(&entry.path(), Access::READ_OK | Access::WRITE_OK)
            || name == "cursors" && is_denied(&entry.path(), all)
    })?;
    Some(denied.path())
}

/// A user, by name if the machine has one for the number.
fn user(id: u32) -> String {
    let all = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = all.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    });
    name.map_or_else(
        || format!("user {id}"),
        |name| format!("user {name} ({id})"),
    )
}

/// File systems that show what the kernel has: proc, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs.
const KERNELS: [u64; 7] = [
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
];

/// The file of a sink.
pub(super) fn sink_file(reading: &mut Reading<'_>, place: &Location, path: &Path) {
    let shown = path.display();
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        let message = format!("{shown} ends with a slash and so names a directory; name a file");
        return reading.mistake(place, message);
    }
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return sink_dir(reading, place, path),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            let message = format!("{shown} cannot be made: something above it is no directory");
            return reading.mistake(place, message);
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let message = format!(
                "this user may not look at {shown}: give its directory to the user that serves; until then events \
                 wait in the journal"
            );
            return reading.warning(place, message);
        }
        Err(error) => {
            let message = format!("{shown} cannot be used: {error}; name another path");
            return reading.mistake(place, message);
        }
    };
    if !metadata.is_file() {
        let kind = kind(&metadata);
        let message = format!(
            "{shown} is {kind}, and a file sink needs a regular file, which keeps what is synced; name another path, \
             or take a sink of type \"stdout\" or \"exec\""
        );
        reading.mistake(place, message);
    } else if !may_write(&metadata) {
        let message =
            format!("this user may not write to {shown}: give it to the user that serves");
        reading.warning(place, message);
    } else if metadata.mode() & 0o004 != 0 {
        let message = format!(
            "everybody on this machine can read {shown}, which holds numbers and texts: chmod 640 it"
        );
        reading.warning(place, message);
    }
}

fn sink_dir(reading: &mut Reading<'_>, place: &Location, path: &Path) {
    let target = fs::read_link(path).ok();
    // What a link points to is relative to the directory of the link.
    let path = target.map_or(path.to_owned(), |target| path.with_file_name(target));
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    let shown = dir.display();
    match fs::metadata(dir) {
        Ok(metadata) if !may_write(&metadata) => {
            let message =
                format!("this user may not make files in {shown}: give it to the user that serves");
            reading.warning(place, message);
        }
        Ok(_) => {}
        Err(_) => {
            let message = format!(
                "the directory {shown} is not there: make it; until then events wait in the journal"
            );
            reading.warning(place, message);
        }
    }
}

/// What an exec sink starts.
pub(super) fn program(reading: &mut Reading<'_>, place: &Location, name: &str) {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        let path = reading.environment.get(OsStr::new("PATH"));
        let path = path.map_or(OsStr::new("/bin:/usr/bin"), |path| path);
        std::env::split_paths(path)
            .map(|dir| dir.join(name))
            .collect()
    };
    let found: Vec<Metadata> = candidates
        .iter()
        .filter_map(|it| fs::metadata(it).ok())
        .collect();
    let runs = |it: &Metadata| it.is_file() && it.mode() & 0o111 != 0;
    let program = candidates
        .iter()
        .find(|it| fs::metadata(it).is_ok_and(|it| runs(&it)));
    if let Some(program) = program {
        reading.own_files.reads(program, "the program of a sink");
        return;
    }
    let (what, remedy) = if found.is_empty() {
        ("is not there", "install it, or write its path")
    } else if found.iter().any(Metadata::is_file) {
        ("cannot be run", "chmod +x it")
    } else {
        ("is no file", "write the path of a program")
    };
    let message =
        format!("the program {name} {what}: {remedy}; until then events wait in the journal");
    reading.warning(place, message);
}

/// A sink that posts to where this process takes posts would have each event come in again, without end.
pub(super) fn own_address(reading: &mut Reading<'_>, config: &Config) {
    let listen = config.server.listen;
    for (place, url) in std::mem::take(&mut reading.targets) {
        if is_at(&url, listen) {
            let message = format!(
                "url leads to {listen}, where this server itself takes posts: each event would come in again without \
                 end; name the address of your handler"
            );
            reading.mistake(&place, message);
        }
    }
}

/// More threads than cores only take turns.
pub(super) fn threads(reading: &mut Reading<'_>) {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let set = reading
        .numbers
        .iter()
        .filter_map(|(setting, value, place)| {
            let counts = setting.section == "server" && ["loops", "workers"].contains(&setting.key);
            let place = place.clone().filter(|_| counts && *value > cores)?;
            Some((place, setting.key, *value))
        });
    let set: Vec<_> = set.collect();
    for (place, key, value) in set {
        let message = format!(
            "{key} = {value} is more than this process has cores ({cores}): they take turns, and each costs memory; \
             leave {key} out"
        );
        reading.warning(&place, message);
    }
}

/// True if a request to this address arrives at `listen`.
fn is_at(url: &Uri, listen: SocketAddr) -> bool {
    let default = if url.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    if listen.port() == 0 || url.port_u16().unwrap_or(default) != listen.port() {
        return false;
    }
    let addresses = addresses(url.host().unwrap_or_default());
    addresses.into_iter().any(|target| {
        let target = match target.to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        match listen.ip().to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => target.is_ipv4() && is_local(target),
            // It takes connections to both.
            IpAddr::V6(ip) if ip.is_unspecified() => is_local(target),
            ip => ip == target,
        }
    })
}

/// What is known of a host without asking anybody: addresses, this machine's own names, and `/etc/hosts`.
fn addresses(host: &str) -> Vec<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if let Ok(ip) = host.parse() {
        return vec![ip];
    }
    if host == "localhost" || host.ends_with(".localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    // As in 127.1 or 0x7f000001, which the system reads without a look-up.
    let is_number = |c: char| c.is_ascii_hexdigit() || c == 'x' || c == '.';
    if host.starts_with(|c: char| c.is_ascii_digit()) && host.chars().all(is_number) {
        let found = (host.as_str(), 0).to_socket_addrs();
        return found.map_or_else(|_| Vec::new(), |found| found.map(|it| it.ip()).collect());
    }
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let known = hosts.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let ip = words.next()?.parse().ok()?;
        words
            .any(|name| name.eq_ignore_ascii_case(&host))
            .then_some(ip)
    });
    known.collect()
}

/// True for an address of this machine: one that a socket can have.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// By owner, group and mode; other means of a system are not looked at.
fn may_write(metadata: &Metadata) -> bool {
    let (user, mode) = (geteuid(), metadata.mode());
    let is_ours = |gid: u32| {
        getegid().as_raw() == gid
            || getgroups().is_ok_and(|all| all.iter().any(|it| it.as_raw() == gid))
    };
    if user.is_root() {
        true
    } else if user.as_raw() == metadata.uid() {
        mode & 0o200 != 0
    } else if is_ours(metadata.gid()) {
        mode & 0o020 != 0
    } else {
        mode & 0o002 != 0
    }
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::is_at;

    #[test]
    fn a_process_knows_its_own_address() {
        for (url, listen, is) in [
            ("http://localhost:8080/w", "127.0.0.1:8080", true),
            ("http://LOCALHOST.:8080/w", "0.0.0.0:8080", true),
            ("http://app.localhost:8080/w", "[::1]:8080", true),
            ("http://127.0.0.1:8080/w", "127.0.0.1:8080", true),
            ("http://127.0.0.2:8080/w", "127.0.0.1:8080", false),
            ("http://127.0.0.2:8080/w", "0.0.0.0:8080", true),
            ("http://0.0.0.0:8080/w", "127.0.0.1:8080", true),
            ("http://127.1:8080/w", "127.0.0.1:8080", true),
            ("http://[::1]:8080/w", "[::]:8080", true),
            ("http://127.0.0.1:8080/w", "[::]:8080", true),
            ("http://[::ffff:127.0.0.1]:8080/w", "127.0.0.1:8080", true),
            ("http://[::1]:8080/w", "127.0.0.1:8080", false),
            ("http://localhost/w", "127.0.0.1:80", true),
            ("https://localhost/w", "127.0.0.1:443", true),
            ("http://localhost:8081/w", "127.0.0.1:8080", false),
            ("http://localhost:8080/w", "127.0.0.1:0", false),
            ("http://192.0.2.1:8080/w", "0.0.0.0:8080", false),
            ("http://nobody.invalid:8080/w", "0.0.0.0:8080", false),
        ] {
            let found = is_at(&url.parse().unwrap(), listen.parse().unwrap());
            assert_eq!(found, is, "{url} at {listen}");
        }
    }
}
