//! The admin pages beside the receiver: who may see them, and that whoever asks for them takes nothing from those who
//! post, however few file descriptors there are.

mod common;

use common::client::{Client, post};
use common::{PROGRAM, Running, Site, ended, eventually};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

/// The command that serves at `site`, or checks its configuration, with so many descriptors and no more.
fn limited(site: &Site, verb: &str, descriptors: u32) -> Command {
    let config = site.write_config();
    let mut command = Command::new("/bin/sh");
    let script = format!("ulimit -n {descriptors} && exec \"$@\"");
    command.args(["-c", &script, "sh", PROGRAM, verb, "--config"]);
    command.arg(config).env_clear().current_dir(site.path());
    command.env("TOKEN", "token");
    command
}

fn is_served(server: &Running, body: &[u8]) {
    let mut client = server.connect();
    client.send(&post("/webhook", "", body));
    assert_eq!(client.answer().code, 200);
}

fn asks(admin: SocketAddr, fields: &str) -> (u16, String) {
    let mut client = Client::connect(admin);
    client.send(format!("GET /livez HTTP/1.1\r\n{fields}Connection: close\r\n\r\n").as_bytes());
    let answer = client.answer();
    (
        answer.code,
        String::from_utf8(answer.body).expect("it is text"),
    )
}

/// With 256 descriptors, 400 connections that nobody uses had taken all of them, and no post was answered.
#[test]
fn idle_connections_to_the_admin_pages_take_nothing_from_those_who_post() {
    let site = Site::unsigned();
    let server = Running::spawn(limited(&site, "serve", 256));
    assert_eq!(
        server.metric("hookline_limit{key=\"server.max_connections\"}"),
        64
    );
    assert_eq!(
        server.metric("hookline_limit{key=\"server.max_connections_per_address\"}"),
        64
    );
    let admin = server.admin.expect("it is there");
    let idle: Vec<TcpStream> = (0..400)
        .map(|_| TcpStream::connect(admin).expect("somebody listens"))
        .collect();
    // All at once, from one address.
    let mut clients: Vec<Client> = (0..64).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(&post("/webhook", "", b"{}"));
    }
    for client in &mut clients {
        assert_eq!(client.answer().code, 200);
    }
    drop(clients);
    drop(idle);
    eventually("the pages are there again", || {
        server
            .admin_page("/readyz")
            .is_some_and(|(code, _)| code == 200)
    });
    let (status, stderr) = server.terminate();
    assert!(status.success(), "{stderr}");
    assert!(stderr.contains("raise LimitNOFILE"), "{stderr}");
    assert_eq!(site.bodies().len(), 64);
}

#[test]
fn what_comes_when_there_is_no_room_is_refused_at_once() {
    let site = Site::unsigned();
    let server = site.start();
    let admin = server.admin.expect("it is there");
    let idle: Vec<TcpStream> = (0..32)
        .map(|_| TcpStream::connect(admin).expect("somebody listens"))
        .collect();
    // Who asked before may still be there for a moment.
    eventually("it is refused", || {
        server
            .admin_page("/livez")
            .is_none_or(|(code, _)| code == 503)
    });
    is_served(&server, b"{}");
    drop(idle);
    eventually("there is room", || {
        server
            .admin_page("/livez")
            .is_some_and(|(code, _)| code == 200)
    });
}

#[test]
fn with_too_few_descriptors_nothing_starts_and_check_says_so() {
    let site = Site::unsigned();
    for verb in ["serve", "check"] {
        for descriptors in [100, 127] {
            let output = ended(limited(&site, verb, descriptors));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{verb}: {stderr}");
            assert!(stderr.contains("ulimit -n 65536"), "{verb}: {stderr}");
        }
    }
    assert!(ended(limited(&site, "check", 128)).status.success());
    let server = Running::spawn(limited(&site, "serve", 128));
    is_served(&server, b"{}");
    assert_eq!(
        server.metric("hookline_limit{key=\"server.max_connections\"}"),
        32
    );
}

/// The pages ask for no password, so a page in somebody's browser must not see them.
#[test]
fn web_pages_are_refused() {
    let site = Site::unsigned();
    let server = site.start();
    let admin = server.admin.expect("it is there");
    for fields in [
        "Host: localhost\r\n",
        "Host: localhost:8081\r\n",
        "Host: 127.0.0.1\r\n",
        "Host: [::1]:8081\r\n",
    ] {
        assert_eq!(asks(admin, fields).0, 200, "{fields}");
    }
    for fields in [
        "Host: evil.example\r\n",
        "Host: metrics.example:8081\r\n",
        "Host: localhost\r\nOrigin: https://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
    ] {
        let (code, text) = asks(admin, fields);
        assert_eq!(code, 403, "{fields}: {text}");
    }
    let (_, text) = asks(admin, "Host: metrics.example\r\n");
    assert!(text.contains("`hosts` in [admin]"), "{text}");
}

#[test]
fn names_that_are_configured_are_taken() {
    let site = Site::unsigned();
    let with_hosts = |listen: &str, hosts: &str| {
        let config = site.write_config();
        let text = std::fs::read_to_string(&config).expect("written");
        let (before, after) = text
            .split_once("[admin]\nlisten = \"127.0.0.1:0\"\n")
            .expect("the section");
        let text = format!("{before}[admin]\nlisten = \"{listen}\"\n{hosts}\n{after}");
        std::fs::write(&config, text).expect("written");
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg("--config").arg(config);
        command
            .env_clear()
            .env("TOKEN", "token")
            .current_dir(site.path());
        let server = Running::spawn(command);
        let port = server.admin.expect("it is there").port();
        (server, SocketAddr::from(([127, 0, 0, 1], port)))
    };
    let known = "Host: Metrics.example:8081\r\n";
    let (other, origin) = (
        "Host: other.example\r\n",
        "Host: 10.0.0.1\r\nOrigin: http://10.0.0.1\r\n",
    );
    let hosts = "hosts = [\"metrics.example\"]";
    for (listen, hosts, codes) in [
        ("127.0.0.1:0", hosts, [200, 403, 403]),
        ("0.0.0.0:0", hosts, [200, 403, 403]),
        // A scraper asks under the name of a service.
        ("0.0.0.0:0", "", [200, 200, 403]),
    ] {
        let (_server, admin) = with_hosts(listen, hosts);
        let got = [known, other, origin].map(|fields| asks(admin, fields).0);
        assert_eq!(got, codes, "{listen} {hosts}");
    }
}

/// A sender with a wrong address is found by the path that it asks for, and writes no line of its own into the log.
#[test]
fn a_path_that_is_not_there_is_shown_escaped_and_cut() {
    let site = Site::unsigned();
    let server = site.start();
    let path = format!("/web%0Ahook/{}", "x".repeat(300));
    let mut client = server.connect();
    client.send(&post(&path, "", b"{}"));
    assert_eq!(client.answer().code, 404);
    eventually("it is in the log", || {
        server.stderr().contains("no endpoint has the path")
    });
    let (_, stderr) = server.terminate();
    assert!(stderr.contains("/web%0Ahook/xxx"), "{stderr}");
    assert!(!stderr.contains(&"x".repeat(100)), "{stderr}");
}
