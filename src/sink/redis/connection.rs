//! One connection to one server. Whoever makes it gives it up with the first error.

use super::said::{described, error_in, failed, pairs, text};
use super::{Address, Options, Wait};
use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Pipeline, RedisConnectionInfo, Value, pipe};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// It ends when it is dropped.
pub(super) struct Connection {
    redis: MultiplexedConnection,
    driver: JoinHandle<()>,
    /// Bytes that the server takes as one value, where it says so.
    pub(super) value_max: Option<usize>,
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

impl Connection {
    /// Connects, logs in, and sees that the server can be asked what is to be asked; the error says what is wrong.
    pub(super) async fn open(options: &Options) -> Result<Connection, String> {
        let opening = async {
            let mut connection = Connection::log_in(options).await?;
            connection.look(options.wait).await?;
            Ok(connection)
        };
        let opened = tokio::time::timeout(options.timeout.min(CONNECT_TIMEOUT), opening).await;
        opened
            .unwrap_or_else(|_| Err("the server has not answered in time: a connection".to_owned()))
    }

    async fn log_in(options: &Options) -> Result<Connection, String> {
        let socket = socket(options).await?;
        let mut info = RedisConnectionInfo::default()
            .set_db(i64::from(options.target.database))
            .set_skip_set_lib_name();
        if let Some(user) = &options.user {
            info = info.set_username(user);
        }
        if let Some(password) = &options.password {
            info = info.set_password(password);
        }
        // Who waits has a limit of its own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&info, socket, config).await;
        let (redis, driver) = made.map_err(|error| failed(&error))?;
        Ok(Connection {
            redis,
            driver: tokio::spawn(driver),
            value_max: None,
        })
    }

    /// Asks for limits, and whether it can wait for disks.
    async fn look(&mut self, wait: Wait) -> Result<(), String> {
        let mut commands = pipe();
        commands.cmd("CONFIG").arg("GET").arg("proto-max-bulk-len");
        if wait.is_asked() {
            commands
                .cmd("WAITAOF")
                .arg(wait.local)
                .arg(wait.replicas)
                .arg(1);
        }
        let answers = self.ask(&commands).await?;
        // Many do not let everybody ask.
        let found = answers.first().map(pairs).unwrap_or_default();
        let value = found.first().and_then(|(_, value)| text(value));
        self.value_max = value.and_then(|value| value.parse().ok());
        match answers.get(1).and_then(error_in) {
            Some(error) => Err(described(error)),
            None => Ok(()),
        }
    }

    /// True if the other side has ended it.
    pub(super) fn has_ended(&self) -> bool {
        self.driver.is_finished()
    }

    /// One answer for each command. Without a limit of time.
    pub(super) async fn ask(&mut self, commands: &Pipeline) -> Result<Vec<Value>, String> {
        ask(&mut self.redis, commands).await
    }

    /// Asks beside this one.
    pub(super) fn beside(&self) -> MultiplexedConnection {
        self.redis.clone()
    }
}

/// One answer for each command.
pub(super) async fn ask(
    redis: &mut MultiplexedConnection,
    commands: &Pipeline,
) -> Result<Vec<Value>, String> {
    let count = commands.len();
    let answers = redis.send_packed_commands(commands, 0, count).await;
    let answers = answers.map_err(|error| failed(&error))?;
    if answers.len() == count {
        Ok(answers)
    } else {
        Err("the server's answer is not understood".to_owned())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Adds the question whether what this connection has written is on so many disks.
pub(super) fn wait_for_disks(commands: &mut Pipeline, wait: Wait, timeout: Duration) {
    let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let wait_for = commands.cmd("WAITAOF");
    wait_for.arg(wait.local).arg(wait.replicas).arg(millis);
}

/// What the answer says: it comes when the time is over, too.
pub(super) fn are_on_disk(answer: &Value, wait: Wait) -> Result<(), String> {
    if let Some(error) = error_in(answer) {
        return Err(described(error));
    }
    let Value::Array(numbers) = answer else {
        return Err("the server's answer to WAITAOF is not understood".to_owned());
    };
    let number = |at: usize| match numbers.get(at) {
        Some(Value::Int(number)) => u32::try_from(*number).unwrap_or(0),
        _ => 0,
    };
    let (local, replicas) = (number(0), number(1));
    if local >= wait.local && replicas >= wait.replicas {
        return Ok(());
    }
    Err(format!(
        "not on disk in time: wait_local is {} and the server says {local}, wait_replicas is {} and it says {replicas}; \
         what is there stays there, and is confirmed once it is on disk",
        wait.local, wait.replicas
    ))
}

async fn socket(options: &Options) -> Result<Box<dyn Socket>, String> {
    let target = &options.target;
    let cannot = |error: std::io::Error| format!("cannot connect to {target}: {error}");
    let (host, port) = match &target.address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(cannot)?;
            return Ok(Box::new(socket));
        }
        Address::Tcp(host, port) => (host.as_str(), *port),
    };
    let socket = TcpStream::connect((host, port)).await.map_err(cannot)?;
    socket.set_nodelay(true).map_err(cannot)?;
    let options_of = SockRef::from(&socket);
    // Who answers nothing is found by the limits of time; this ends what nobody uses.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    options_of.set_tcp_keepalive(&keepalive).map_err(cannot)?;
    if !target.is_encrypted {
        return Ok(Box::new(socket));
    }
    let config = options.files.client_config();
    let config = config.map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, socket);
    Ok(Box::new(connecting.await.map_err(cannot)?))
}

/// Until a connection is there and logged in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// When the system asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
