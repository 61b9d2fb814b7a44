//! TCP and UDP between two endpoints, bounded in bytes, packets and time.
//!
//! Everything here returns what *arrived*. A transfer through a gateway that drops it ends with an
//! error, or with fewer datagrams, after the given patience; it never hangs.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::sockopt::{Linger, RcvBufForce, SendTimeout};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::Pid;

use crate::netns::{Endpoint, NetNs};

/// How long a transfer may make no progress.
pub const PATIENCE: Duration = Duration::from_secs(30);
const CHUNK: usize = 64 * 1024;
/// Datagrams under way at once: fewer than a veth's ring takes, also when all are in fragments.
const WINDOW: usize = 64;
/// More than a window of the largest datagrams takes.
const RECEIVE_BUFFER: usize = 16 << 20;
/// When a datagram that is not there yet is given up.
const LATE: Duration = Duration::from_millis(300);

/// Bytes of payload that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// From the first endpoint at the second.
    pub up: u64,
    /// From the second endpoint at the first.
    pub down: u64,
}

/// Opens a connection from one endpoint to the other, moves `up` and `down` bytes over it at the
/// same time, and closes it.
///
/// # Errors
/// If it cannot be opened, or nothing moves for [`PATIENCE`].
pub fn tcp(from: &Endpoint, to: &Endpoint, up: u64, down: u64) -> Result<Transfer> {
    tcp_within(from, to, up, down, PATIENCE)
}

/// Like [`tcp`], with a patience of one's own.
///
/// # Errors
/// If it cannot be opened, or nothing moves for so long.
pub fn tcp_within(
    from: &Endpoint,
    to: &Endpoint,
    up: u64,
    down: u64,
    patience: Duration,
) -> Result<Transfer> {
    let (client, server) = connect(from, to, patience)?;
    exchange(&client, &server, &Amount::Bytes(up), &Amount::Bytes(down))
        .with_context(|| format!("TCP from {} to {}", from.address, to.address))
}

/// A TCP connection that moves data, some 50 MB a second at most, until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    worker: JoinHandle<Result<Transfer>>,
}

impl Load {
    /// Starts to send in the directions asked for.
    ///
    /// # Errors
    /// If the connection cannot be opened.
    pub fn start(from: &Endpoint, to: &Endpoint, up: bool, down: bool) -> Result<Self> {
        let (client, server) = connect(from, to, PATIENCE)?;
        let stop = Arc::new(AtomicBool::new(false));
        let amount = |wanted| match wanted {
            true => Amount::Until(Arc::clone(&stop)),
            false => Amount::Bytes(0),
        };
        let (up, down) = (amount(up), amount(down));
        let worker = thread::spawn(move || {
            exchange(&client, &server, &up, &down).context("TCP in the background")
        });
        Ok(Self { stop, worker })
    }

    /// Stops sending, waits until the last byte has arrived, and says how many did.
    ///
    /// # Errors
    /// If the connection broke, or nothing moved for [`PATIENCE`].
    pub fn stop(self) -> Result<Transfer> {
        self.stop.store(true, Ordering::Relaxed);
        self.worker
            .join()
            .map_err(|_| anyhow!("the sender panicked"))?
    }
}

/// Sends datagrams of `size` bytes of payload, no faster than they are received, and returns how
/// many arrived. Larger ones than the MTU go in fragments.
///
/// # Errors
/// If a socket cannot be opened or refuses to send.
pub fn udp(from: &Endpoint, to: &Endpoint, datagrams: usize, size: usize) -> Result<usize> {
    let bind = |end: &Endpoint| {
        end.namespace
            .enter(|| UdpSocket::bind((end.address, 0)))
            .with_context(|| format!("cannot bind to {}", end.address))
    };
    let (sender, receiver) = (bind(from)?, bind(to)?);
    sender.connect(receiver.local_addr()?)?;
    receiver.set_read_timeout(Some(LATE))?;
    socket::setsockopt(&receiver, RcvBufForce, &RECEIVE_BUFFER)?;
    let received = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sink = scope.spawn(|| -> io::Result<()> {
            let mut buffer = vec![0; size.max(1)];
            while received.load(Ordering::Acquire) < datagrams {
                match receiver.recv(&mut buffer) {
                    Ok(_) => _ = received.fetch_add(1, Ordering::Release),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if !is_late(&error) => return Err(error),
                    Err(_) if done.load(Ordering::Acquire) => break,
                    Err(_) => {}
                }
            }
            Ok(())
        });
        let sent = send_paced(&sender, datagrams, size, &received);
        done.store(true, Ordering::Release);
        sink.join()
            .map_err(|_| anyhow!("the receiver panicked"))?
            .context("UDP receiver")?;
        sent.with_context(|| format!("UDP from {} to {}", from.address, to.address))
    })?;
    Ok(received.into_inner())
}

/// Runs `work` on each of the CPUs this process may use, all at once, and returns the results in
/// the CPUs' order; `work` is given the CPU's number.
///
/// # Errors
/// If a thread cannot be bound to its CPU, or with the first error of `work`.
pub fn on_every_cpu<T: Send>(work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("which CPUs may be used")?;
    let cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = cpus
            .map(|cpu| {
                scope.spawn(move || {
                    let mut only = CpuSet::new();
                    only.set(cpu)
                        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only))
                        .with_context(|| format!("cannot run on CPU {cpu}"))?;
                    work(cpu)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
            .collect()
    })
}

/// Connects from an endpoint to an address and port, sends a line, and returns the line that is answered.
///
/// # Errors
/// If nobody answers within so long.
pub fn ask(from: &Endpoint, to: SocketAddr, line: &str, patience: Duration) -> Result<String> {
    let context = || format!("asking {to} from {}", from.address);
    let stream = from
        .namespace
        .enter(|| connect_from(SocketAddr::new(from.address, 0), to, patience))
        .with_context(context)?;
    stream.set_read_timeout(Some(patience))?;
    (&stream).write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(&stream)
        .read_line(&mut answer)
        .with_context(context)?;
    Ok(answer.trim_end().to_owned())
}

/// Answers each line that is sent to a port of a namespace with one of its own, until it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins to listen on all addresses of both families.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn start(namespace: &NetNs, port: u16, answer: &str) -> Result<Self> {
        let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let listener = namespace
            .enter(|| TcpListener::bind(everywhere))
            .with_context(|| format!("cannot listen on port {port}"))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, answer) = (Arc::clone(&stop), format!("{answer}\n"));
        let worker = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    sleep(Duration::from_millis(1));
                    continue;
                };
                // Whoever asks and goes away is not waited for.
                let _ = stream.set_nonblocking(false);
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let mut line = String::new();
                if BufReader::new(&stream).read_line(&mut line).is_ok() {
                    let _ = (&stream).write_all(answer.as_bytes());
                }
            }
        });
        Ok(Self {
            stop,
            worker: Some(worker),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            // It says nothing that anybody waits for.
            let _ = worker.join();
        }
    }
}

enum Amount {
    Bytes(u64),
    Until(Arc<AtomicBool>),
}

fn connect(from: &Endpoint, to: &Endpoint, patience: Duration) -> Result<(TcpStream, TcpStream)> {
    let listener = to
        .namespace
        .enter(|| TcpListener::bind((to.address, 0)))
        .with_context(|| format!("cannot listen at {}", to.address))?;
    let there = listener.local_addr()?;
    let client = from
        .namespace
        .enter(|| connect_from(SocketAddr::new(from.address, 0), there, patience))
        .with_context(|| format!("cannot connect from {} to {there}", from.address))?;
    let server = accept(&listener, patience).context("the connection did not come through")?;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
    }
    Ok((client, server))
}

fn accept(listener: &TcpListener, patience: Duration) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let started = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if is_late(&error) && started.elapsed() < patience => {
                sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Connects from a given address, which the standard library cannot.
fn connect_from(from: SocketAddr, to: SocketAddr, patience: Duration) -> Result<TcpStream> {
    let family = if from.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Holds for connecting as well.
    let limit = TimeVal::milliseconds(i64::try_from(patience.as_millis())?);
    socket::setsockopt(&socket, SendTimeout, &limit)?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(from))?;
    loop {
        match socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
            Err(Errno::EINTR) => {}
            Ok(()) | Err(Errno::EISCONN) => return Ok(TcpStream::from(socket)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Moves data both ways. Whatever fails first ends all of it, and is what is said.
fn exchange(
    client: &TcpStream,
    server: &TcpStream,
    up: &Amount,
    down: &Amount,
) -> Result<Transfer> {
    let failed = OnceLock::new();
    let part = |what: &'static str, moved: io::Result<u64>| {
        moved.unwrap_or_else(|error| {
            if failed.set((what, error)).is_ok() {
                // What could not be delivered is not tried again behind the test's back, and nobody waits for it.
                for stream in [client, server] {
                    let at_once = libc::linger {
                        l_onoff: 1,
                        l_linger: 0,
                    };
                    let _ = socket::setsockopt(stream, Linger, &at_once);
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
            0
        })
    };
    let transfer = thread::scope(|scope| {
        scope.spawn(|| part("sending up", pour(client, up)));
        scope.spawn(|| part("sending down", pour(server, down)));
        let at_server = scope.spawn(|| part("receiving what goes up", drain(server)));
        let received_down = part("receiving what goes down", drain(client));
        let received_up = at_server.join().map_err(|_| anyhow!("a thread panicked"))?;
        anyhow::Ok(Transfer {
            up: received_up,
            down: received_down,
        })
    })?;
    match failed.into_inner() {
        None => Ok(transfer),
        Some((what, error)) => Err(anyhow!(error).context(what)),
    }
}

fn pour(mut stream: &TcpStream, amount: &Amount) -> io::Result<u64> {
    let chunk = [0x5a; CHUNK];
    let mut sent = 0;
    match amount {
        Amount::Bytes(bytes) => {
            while sent < *bytes {
                let next = usize::try_from(bytes - sent).unwrap_or(CHUNK).min(CHUNK);
                stream.write_all(&chunk[..next])?;
                sent += next as u64;
            }
        }
        Amount::Until(stop) => {
            while !stop.load(Ordering::Relaxed) {
                stream.write_all(&chunk)?;
                sent += chunk.len() as u64;
                // Leaves the CPUs to what is tested.
                sleep(Duration::from_millis(1));
            }
        }
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(sent)
}

fn drain(mut stream: &TcpStream) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(received),
            Ok(bytes) => received += bytes as u64,
            // Where a socket has a timeout the kernel does not go on by itself after whatever interrupted it.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn send_paced(
    sender: &UdpSocket,
    datagrams: usize,
    size: usize,
    received: &AtomicUsize,
) -> io::Result<()> {
    let payload = vec![0xa5; size];
    // Those that were waited for in vain.
    let mut given_up = 0;
    for sent in 0..datagrams {
        let under_way = || sent.saturating_sub(received.load(Ordering::Acquire) + given_up);
        let started = Instant::now();
        while under_way() >= WINDOW {
            sleep(Duration::from_micros(100));
            if started.elapsed() > Duration::from_millis(20) {
                given_up += under_way();
                break;
            }
        }
        sender.send(&payload)?;
    }
    Ok(())
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
