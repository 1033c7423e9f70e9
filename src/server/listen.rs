//! The listening sockets: one for each loop on the same port, so that the kernel spreads the connections.

use super::ServerError;
use crate::config::Admin;
use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// One listener for each loop, all on `address`.
pub(super) fn bind(address: SocketAddr, loops: usize) -> Result<Vec<TcpListener>, ServerError> {
    let failed = |cause: io::Error| match cause.kind() {
        ErrorKind::AddrInUse => ServerError::AddressInUse(address),
        _ => ServerError::Io {
            action: format!("listen on {address}"),
            cause,
        },
    };
    // SO_REUSEPORT would let two processes share the port without a word; a bind without it does not.
    let probe = socket(address, false).map_err(failed)?;
    probe.bind(&address.into()).map_err(failed)?;
    let address = probe
        .local_addr()
        .map_err(failed)?
        .as_socket()
        .unwrap_or(address);
    drop(probe);
    let listener = |_| {
        let socket = socket(address, loops > 1)?;
        socket.bind(&address.into())?;
        // Accepted sockets inherit it: no call for each connection.
        socket.set_tcp_nodelay(true)?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from_std(socket.into()))
    };
    (0..loops)
        .map(listener)
        .collect::<io::Result<_>>()
        .map_err(failed)
}

/// The listener of the admin pages. A default address that is taken is no reason not to start.
pub(super) fn bind_admin(admin: &Admin) -> Result<Option<std::net::TcpListener>, ServerError> {
    let Some(address) = admin.listen else {
        return Ok(None);
    };
    let bound = std::net::TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    match bound {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == ErrorKind::AddrInUse && !admin.required => {
            tracing::warn!(%address, "metrics and health are not served: the default address is in use; name a free one as `listen` in [admin]");
            Ok(None)
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(ServerError::AdminInUse(address)),
        Err(cause) => Err(ServerError::Io {
            action: format!("listen on {address}"),
            cause,
        }),
    }
}

fn socket(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    // A port in TIME_WAIT is no reason not to start again.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    Ok(socket)
}
