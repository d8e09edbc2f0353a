//! Connections to runtimes that end after a number of bytes: whoever answers without end can't fill the memory.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bollard::{BollardRequest, ClientVersion, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::codegen::http::Uri;
use tower::service_fn;

/// Most bytes that are read from one connection. Each request to Docker has its own; a list of thousands of containers
/// takes less, and a stream of events is begun anew when it ends.
pub(super) const CONNECTION_LEN_MAX: usize = 32 << 20;

/// The oldest API that clients speak today, before they have agreed on another one with the daemon.
const CLIENT_VERSION: ClientVersion = ClientVersion { major_version: 1, minor_version: 24 };
/// Only there for its form: a Unix socket has no host.
const HOST: &str = "http://docker";

/// A client of the Docker API at a socket. Nothing is connected yet.
///
/// # Errors
/// None that the socket has part in.
pub(super) fn docker(socket: &Path, timeout: Duration) -> Result<Docker, bollard::errors::Error> {
    let socket: Arc<Path> = socket.into();
    let connector = service_fn(move |_: Uri| {
        let socket = Arc::clone(&socket);
        Box::pin(async move { Limited::connect(&socket).await.map(TokioIo::new) })
    });
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let transport = move |request: BollardRequest| {
        let client = client.clone();
        async move { Ok(client.request(request).await?) }
    };
    Docker::connect_with_custom_transport(transport, Some(HOST), timeout.as_secs(), &CLIENT_VERSION)
}

/// A Unix socket that fails once [`CONNECTION_LEN_MAX`] bytes were read from it.
struct Limited {
    stream: UnixStream,
    left: usize,
}

impl Limited {
    async fn connect(socket: &Path) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(socket).await?, left: CONNECTION_LEN_MAX })
    }
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("more bytes than a runtime has to say"))),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connection for Limited {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
