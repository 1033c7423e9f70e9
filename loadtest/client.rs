//! What the loads have in common: a request as a platform sends it, on a connection that stays open.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A post of this body to /webhook.
pub fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: h\r\nUser-Agent: facebookexternalua\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One request and its answer. True when that was 200.
pub fn ask(open: &mut Option<TcpStream>, port: u16, request: &[u8]) -> Result<bool> {
    let stream = match open {
        Some(stream) => stream,
        None => open.insert(connect(port)?),
    };
    stream.write_all(request)?;
    let (mut answer, mut len) = ([0; 4096], 0);
    while !answer[..len].ends_with(b"\r\n\r\n") {
        match stream.read(&mut answer[len..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => len += read,
        }
    }
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

/// A connection that gives up after 10 s without an answer.
pub fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}
