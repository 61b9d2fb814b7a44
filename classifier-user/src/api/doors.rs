//! Where the agent listens: on its Unix socket, and by TLS on an address if one is configured. Whoever comes in is known by
//! what the kernel, or a certificate, says.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tower_service::Service as _;
use tracing::{debug, error, warn};

use super::access::Peer;
use super::access::pace::Seldom;
use super::body::Heard;
use super::tls::Tls;
use crate::config::Api;
use crate::lock::Lock;

/// How long somebody may take to show a certificate.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long somebody may be connected and ask nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// After an error that will not be over at once, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// All doors, open.
#[derive(Debug)]
pub(super) struct Doors {
    socket: Place,
    accepted: mpsc::Receiver<(Stream, Peer)>,
    address: Option<SocketAddr>,
    /// Ends with this.
    _tasks: JoinSet<()>,
}

/// Whatever bytes come and go by.
trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytes for T {}

/// A connection.
pub(super) struct Stream {
    bytes: Box<dyn Bytes>,
    /// It is one of as many as there may be.
    _one: OwnedSemaphorePermit,
}

impl Doors {
    /// Opens them.
    ///
    /// # Errors
    /// When another agent listens on the socket, an address is taken, or a certificate cannot be used.
    pub(super) async fn open(api: &Api) -> anyhow::Result<Self> {
        let (place, listener) =
            listen(&api.socket).with_context(|| format!("API socket {}", api.socket.display()))?;
        let tcp = match &api.tcp {
            None => None,
            Some(tcp) => {
                let tls = Tls::open(tcp)?;
                let listener = TcpListener::bind(tcp.listen)
                    .await
                    .with_context(|| format!("API address {}", tcp.listen))?;
                Some((listener, tls))
            }
        };
        // Each door has its own: whoever fills the one keeps nobody from coming in by the other.
        let connections = || Arc::new(Semaphore::new(api.limits.connections));
        let (sender, accepted) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let address = tcp
            .as_ref()
            .and_then(|(listener, _)| listener.local_addr().ok());
        if let Some((listener, tls)) = tcp {
            tasks.spawn(admit_clients(
                listener,
                Arc::new(tls),
                connections(),
                sender.clone(),
            ));
        }
        tasks.spawn(admit_processes(listener, connections(), sender));
        Ok(Self {
            socket: place,
            accepted,
            address,
            _tasks: tasks,
        })
    }

    /// Answers whoever comes in, until `shutdown` is done; then those who have asked are answered, and nobody else.
    pub(super) async fn answer(
        mut self,
        router: Router,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let graceful = GracefulShutdown::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let (stream, peer) = tokio::select! {
                // The tasks go on as long as we do.
                Some(accepted) = self.accepted.recv() => accepted,
                () = &mut shutdown => break,
            };
            let router = router.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let mut request = request.map(|body| Body::new(Heard::out(body)));
                request.extensions_mut().insert(ConnectInfo(peer.clone()));
                router.clone().call(request)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(SILENCE)
                .serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    debug!("a connection to the API broke: {error}");
                }
            });
        }
        drop(self);
        graceful.shutdown().await;
    }

    /// The Unix socket.
    #[must_use]
    pub(super) fn socket(&self) -> &Path {
        &self.socket.path
    }

    /// The address, if there is one.
    #[must_use]
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

/// A Unix socket of this agent's own. It goes with it: nobody answers there any more.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Held until the socket is gone.
    _lock: Lock,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            warn!("removing {}: {error}", self.path.display());
        }
    }
}

/// Listens on a Unix socket that only its owner and group can use. A socket left by an agent that is gone is
/// replaced; of agents that find one at the same time only one may.
fn listen(socket: &Path) -> io::Result<(Place, UnixListener)> {
    let taken = || io::Error::new(io::ErrorKind::AddrInUse, "another agent listens there");
    if let Some(directory) = socket.parent()
        && !directory.exists()
    {
        std::fs::create_dir_all(directory)?;
        // Who may come in the socket and roles say, also of those who are given the socket later.
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
    }
    let lock = Lock::take(socket)?.ok_or_else(taken)?;
    if socket.exists() {
        // By something that knows no lock.
        if std::os::unix::net::UnixStream::connect(socket).is_ok() {
            return Err(taken());
        }
        std::fs::remove_file(socket)?;
    }
    let listener = UnixListener::bind(socket)?;
    let place = Place {
        path: socket.to_owned(),
        _lock: lock,
    };
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
    Ok((place, listener))
}

/// A turn among as many connections as there may be. Who comes when there is none waits.
async fn turn(connections: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(connections).acquire_owned().await.ok()
}

async fn admit_processes(
    listener: UnixListener,
    connections: Arc<Semaphore>,
    accepted: mpsc::Sender<(Stream, Peer)>,
) {
    while let Some(one) = turn(&connections).await {
        let known = match listener.accept().await {
            Ok((stream, _)) => stream.peer_cred().map(|known| (stream, known)),
            Err(error) => Err(error),
        };
        let (stream, known) = match known {
            Ok(known) => known,
            Err(error) => {
                error!("API socket: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let peer = Peer::Process {
            uid: known.uid(),
            gid: known.gid(),
        };
        let stream = Stream {
            bytes: Box::new(stream),
            _one: one,
        };
        if accepted.send((stream, peer)).await.is_err() {
            return;
        }
    }
}

async fn admit_clients(
    listener: TcpListener,
    tls: Arc<Tls>,
    connections: Arc<Semaphore>,
    accepted: mpsc::Sender<(Stream, Peer)>,
) {
    // They end with this.
    let mut handshakes = JoinSet::new();
    let refusals = Arc::new(Seldom::default());
    while let Some(one) = turn(&connections).await {
        while handshakes.try_join_next().is_some() {}
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                error!("API address: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (tls, accepted) = (Arc::clone(&tls), accepted.clone());
        let refusals = Arc::clone(&refusals);
        handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok((stream, names))) => {
                    let peer = Peer::Client {
                        address,
                        names: names.into(),
                    };
                    let stream = Stream {
                        bytes: Box::new(stream),
                        _one: one,
                    };
                    // Nobody is left to be let in when the agent stops.
                    let _ = accepted.send((stream, peer)).await;
                }
                Ok(Err(error)) if is_of_certificate(&error) => {
                    let Some(untold) = refusals.now() else {
                        return;
                    };
                    let more = match untold {
                        0 => String::new(),
                        n => format!(" (and {n} more since the last one that was logged)"),
                    };
                    warn!("refused a certificate of {}: {error}{more}", address.ip());
                }
                // Whoever knocks at a port that is open can make it say so.
                Ok(Err(error)) => debug!("TLS with {}: {error}", address.ip()),
                Err(_) => debug!("TLS with {} took too long", address.ip()),
            }
        });
    }
}

/// Whether somebody has shown a certificate that is not believed: out of date, or of another authority.
fn is_of_certificate(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.bytes).poll_read(context, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.bytes).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.bytes).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.bytes).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn of_many_that_find_a_socket_left_behind_one_listens() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("api.sock");
        let runtime = tokio::runtime::Handle::current();
        for _ in 0..50 {
            // Left behind: nobody answers, and it is there.
            drop(std::os::unix::net::UnixListener::bind(&socket)?);
            let all = Barrier::new(4);
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let one = || {
                    let _context = runtime.enter();
                    all.wait();
                    listen(&socket)
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
                threads.into_iter().map(|thread| thread.join()).collect()
            });
            let listening = outcomes
                .iter()
                .filter(|one| matches!(one, Ok(Ok(_))))
                .count();
            assert_eq!(listening, 1, "{outcomes:?}");
            assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
            drop(outcomes);
            assert!(!socket.exists(), "it goes with who listened");
        }
        Ok(())
    }
}
