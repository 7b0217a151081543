//! One connection to a server, for one query.
//!
//! Once it is closed, what the server still sends makes the kernel answer with a
//! reset that has no mark, and would leave through the mesh: the chain `error_guard`
//! stops it, where the table is in place. So a connection that
//! has done its work, or that nobody waits for any more, says that it has nothing
//! more to say and stays until the server says the same, within bounds.

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Weak;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::super::socket;

/// Connections at a time, with those that only wait for their end. The oldest of
/// these makes room.
const MAX_OPEN: usize = 64;
/// How long a server is waited for that does not close.
const LINGER: Duration = Duration::from_secs(30);
/// How much of what nobody wants is read meanwhile: an answer sent twice, perhaps.
/// A server that says more than that waits for us to read it.
const MAX_UNWANTED: usize = 128 * 1024;

/// All that are open.
#[derive(Default)]
pub struct Connections(RefCell<Vec<Open>>);

struct Open {
    task: AbortHandle,
    awaited: Weak<()>,
}

impl Connections {
    /// Takes one in, while somebody holds what `awaited` belongs to. Bounds how
    /// many there are.
    pub fn add(&self, task: AbortHandle, awaited: Weak<()>) {
        let mut all = self.0.borrow_mut();
        all.retain(|open| !open.task.is_finished());
        if all.len() >= MAX_OPEN {
            let unwanted = all.iter().position(|open| open.awaited.strong_count() == 0);
            if let Some(unwanted) = unwanted {
                all.remove(unwanted).task.abort();
            }
        }
        all.push(Open { task, awaited });
    }
}

/// A connection, made or being made.
pub struct Connection(TcpStream);

impl Connection {
    /// Begins to connect.
    ///
    /// # Errors
    /// No route, no privilege for the mark, no descriptors.
    pub fn begin(to: SocketAddr, mark: u32) -> io::Result<Self> {
        let socket = socket::tcp(to, mark)?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        Ok(Self(TcpStream::from_std(socket.into())?))
    }

    /// Waits until it is made.
    async fn made(&self) -> io::Result<()> {
        self.0.writable().await?;
        match self.0.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Sends a query and reads the first message that comes, and how long after the
    /// query it came.
    ///
    /// # Errors
    /// The server refuses the connection, or ends it.
    pub async fn ask(&self, query: &[u8]) -> io::Result<(Vec<u8>, Duration)> {
        self.made().await?;
        // RFC 1035, section 4.2.2. In one piece: some servers read no second one.
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        self.send(&[&length.to_be_bytes(), query].concat()).await?;
        let sent = Instant::now();
        let mut length = [0; 2];
        self.receive(&mut length).await?;
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        self.receive(&mut reply).await?;
        Ok((reply, sent.elapsed()))
    }

    async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn receive(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let count = self.read(buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.0.readable().await?;
            match self.0.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    /// Ends it, in the manner that is said above.
    pub async fn end(self) {
        // Whatever comes of it, it is over then.
        let _ = timeout(LINGER, self.last_words()).await;
    }

    async fn last_words(&self) -> io::Result<()> {
        // A socket that is shut down while it is being connected is closed.
        self.made().await?;
        SockRef::from(&self.0).shutdown(Shutdown::Write)?;
        let mut unwanted = 0;
        let mut buffer = [0; 1024];
        while unwanted < MAX_UNWANTED {
            match self.read(&mut buffer).await? {
                0 => return Ok(()),
                count => unwanted += count,
            }
        }
        sleep(LINGER).await;
        Ok(())
    }
}
