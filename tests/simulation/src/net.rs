//! The network: streams of bytes between machines, as TCP would carry them over a bad one. What is lost is sent
//! again, and so is late; what is cut off waits until it is whole again, or its connection has been given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use api::connect::{Dial, Dialling, Stream};
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

use crate::trace::Trace;

/// A machine's number.
pub type HostId = u64;

/// Bytes that are on their way at most.
const WINDOW: usize = 256 << 10;
/// The first wait before what was lost is sent again.
const AGAIN_NS: u64 = 200_000_000;

/// All machines' network. Cheap to clone.
#[derive(Clone)]
pub struct Net(Arc<Mutex<Inner>>);

/// How bad it is between two machines, one way.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// What takes longest to arrive takes so long, in nanoseconds.
    pub slowest_ns: u64,
    /// Of a thousand pieces so many are lost.
    pub lost_permille: u32,
}

struct Inner {
    random: fastrand::Rng,
    now_ns: u64,
    listeners: BTreeMap<String, (HostId, mpsc::UnboundedSender<Box<dyn Stream>>)>,
    pipes: Vec<Arc<Mutex<Pipe>>>,
    /// Ways that carry nothing.
    cut: BTreeSet<(HostId, HostId)>,
    /// Machines that are off and say nothing, rather than that nobody listens.
    silent: BTreeSet<HostId>,
    quality: Quality,
    bad: BTreeMap<(HostId, HostId), Quality>,
    latest: BTreeMap<(HostId, HostId), u64>,
    trace: Trace,
}

/// One way of a connection.
struct Pipe {
    from: HostId,
    to: HostId,
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Pieces that have arrived.
    arrived: usize,
    reset: bool,
    /// Nobody will read any more.
    unread: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Piece {
    due_ns: u64,
    bytes: Bytes,
    /// It was held up by a cut way.
    held: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

impl Inner {
    fn quality(&self, from: HostId, to: HostId) -> Quality {
        self.bad.get(&(from, to)).copied().unwrap_or(self.quality)
    }

    /// When a piece that is sent now arrives.
    fn due_ns(&mut self, from: HostId, to: HostId) -> u64 {
        let quality = self.quality(from, to);
        let mut late = self.random.u64(200_000..=quality.slowest_ns.max(300_000));
        let mut again = AGAIN_NS;
        while self.random.u32(0..1_000) < quality.lost_permille && again < 4 * AGAIN_NS {
            self.trace.count("message lost");
            late += again;
            again *= 2;
        }
        let due = self.now_ns + late;
        let latest = self.latest.entry((from, to)).or_default();
        if due < *latest {
            self.trace.count("messages reordered");
        }
        if late > 50_000_000 {
            self.trace.count("message delayed over 50 ms");
        }
        *latest = due.max(*latest);
        due
    }
}

impl Net {
    /// One on which all is well.
    pub fn new(seed: u64, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            random: fastrand::Rng::with_seed(seed),
            now_ns: 0,
            listeners: BTreeMap::new(),
            pipes: Vec::new(),
            cut: BTreeSet::new(),
            silent: BTreeSet::new(),
            quality: Quality {
                slowest_ns: 2_000_000,
                lost_permille: 0,
            },
            bad: BTreeMap::new(),
            latest: BTreeMap::new(),
            trace,
        })))
    }

    /// Listens on an address, for a process of `host`.
    pub fn listen(&self, host: HostId, address: &str) -> mpsc::UnboundedReceiver<Box<dyn Stream>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = lock(&self.0);
        inner.silent.remove(&host);
        inner.listeners.insert(address.into(), (host, sender));
        receiver
    }

    /// The way out of `host`.
    pub fn dialler(&self, host: HostId) -> Arc<dyn Dial> {
        Arc::new(Dialler {
            net: self.clone(),
            host,
        })
    }

    /// All connections of a process that ended. The others hear of it at once, or `silent`ly: when it is back.
    pub fn end(&self, host: HostId, silent: bool) {
        let mut inner = lock(&self.0);
        inner.listeners.retain(|_, (at, _)| *at != host);
        if silent {
            inner.silent.insert(host);
        }
        for pipe in &inner.pipes {
            let mut pipe = lock(pipe);
            if pipe.from == host || pipe.to == host {
                pipe.reset |= !silent;
                pipe.wake();
            }
        }
    }

    /// A machine that was silent is back, and knows none of its connections.
    pub fn back(&self, host: HostId) {
        lock(&self.0).silent.remove(&host);
        self.end(host, false);
    }

    /// Carries nothing from one machine to another.
    pub fn cut(&self, from: HostId, to: HostId) {
        lock(&self.0).cut.insert((from, to));
    }

    /// How bad it is from one machine to another.
    pub fn worsen(&self, from: HostId, to: HostId, quality: Quality) {
        lock(&self.0).bad.insert((from, to), quality);
    }

    /// Cuts nothing any more.
    pub fn mend(&self) {
        let mut inner = lock(&self.0);
        inner.cut.clear();
        inner.bad.clear();
    }

    /// Lets arrive what is due.
    pub fn step(&self, now_ns: u64) {
        let mut inner = lock(&self.0);
        let inner = &mut *inner;
        inner.now_ns = now_ns;
        inner.pipes.retain(|pipe| {
            let pipe = lock(pipe);
            !(pipe.unread || pipe.reset && pipe.reader.is_none() && pipe.pieces.is_empty())
        });
        for pipe in &inner.pipes {
            let mut pipe = lock(pipe);
            let (from, to) = (pipe.from, pipe.to);
            let cut = inner.cut.contains(&(pipe.from, pipe.to))
                || inner.silent.contains(&pipe.to)
                || inner.silent.contains(&pipe.from);
            let (mut arrived, before) = (pipe.arrived, pipe.arrived);
            while let Some(piece) = pipe.pieces.get_mut(arrived) {
                if piece.due_ns > now_ns {
                    break;
                }
                if cut {
                    piece.held = true;
                    break;
                }
                if std::mem::take(&mut piece.held) {
                    inner.trace.count("message held by a partition");
                    piece.due_ns = now_ns + inner.random.u64(0..2 * AGAIN_NS);
                    continue;
                }
                inner.trace.note(&[from, to, piece.bytes.len() as u64]);
                inner.trace.bytes(&piece.bytes);
                arrived += 1;
            }
            pipe.arrived = arrived;
            if arrived > before
                && let Some(reader) = pipe.reader.take()
            {
                reader.wake();
            }
        }
    }

    /// Both ends of a new connection.
    fn connect(&self, from: HostId, address: &str) -> io::Result<Option<End>> {
        let mut inner = lock(&self.0);
        let Some((to, _)) = inner.listeners.get(address) else {
            let silent = !inner.silent.is_empty();
            return if silent {
                Ok(None)
            } else {
                Err(io::ErrorKind::ConnectionRefused.into())
            };
        };
        let to = *to;
        if inner.cut.contains(&(from, to)) || inner.cut.contains(&(to, from)) {
            return Ok(None);
        }
        let pipe = |from, to| {
            Arc::new(Mutex::new(Pipe {
                from,
                to,
                pieces: VecDeque::new(),
                bytes: 0,
                arrived: 0,
                reset: false,
                unread: false,
                reader: None,
                writer: None,
            }))
        };
        let (there, back) = (pipe(from, to), pipe(to, from));
        inner.pipes.extend([there.clone(), back.clone()]);
        let end = |read: &Arc<Mutex<Pipe>>, write: &Arc<Mutex<Pipe>>| End {
            net: self.clone(),
            read: read.clone(),
            write: write.clone(),
        };
        let theirs: Box<dyn Stream> = Box::new(end(&there, &back));
        let sent = inner.listeners.get(address).map(|(_, to)| to.send(theirs));
        drop(inner);
        match sent {
            Some(Ok(())) => Ok(Some(end(&back, &there))),
            // Whoever listened is gone; its end is dropped, and so is ours.
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

struct Dialler {
    net: Net,
    host: HostId,
}

impl std::fmt::Debug for Dialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the way out of machine {}", self.host)
    }
}

impl Dial for Dialler {
    fn dial(&self, address: String) -> Dialling {
        let (net, host) = (self.net.clone(), self.host);
        Box::pin(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                if let Some(end) = net.connect(host, &address)? {
                    return Ok(Box::new(end) as Box<dyn Stream>);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    }
}

/// One end of a connection.
struct End {
    net: Net,
    read: Arc<Mutex<Pipe>>,
    write: Arc<Mutex<Pipe>>,
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.read);
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.arrived == 0 {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut taken = 0;
        while pipe.arrived > 0 && buffer.remaining() > 0 {
            let Some(piece) = pipe.pieces.front_mut() else {
                break;
            };
            // An empty piece is the end, and stays.
            if piece.bytes.is_empty() {
                break;
            }
            let part = piece.bytes.len().min(buffer.remaining());
            buffer.put_slice(&piece.bytes[..part]);
            piece.bytes.advance(part);
            taken += part;
            if piece.bytes.is_empty() {
                pipe.pieces.pop_front();
                pipe.arrived -= 1;
            }
        }
        pipe.bytes -= taken;
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl End {
    fn send(&self, bytes: Bytes) {
        let mut inner = lock(&self.net.0);
        let mut pipe = lock(&self.write);
        let due_ns = inner.due_ns(pipe.from, pipe.to);
        let after = pipe.pieces.back().map_or(0, |last| last.due_ns);
        pipe.bytes += bytes.len();
        pipe.pieces.push_back(Piece {
            due_ns: due_ns.max(after),
            bytes,
            held: false,
        });
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        {
            let mut pipe = lock(&self.write);
            if pipe.reset || pipe.unread {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if pipe.bytes > WINDOW {
                pipe.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        if !bytes.is_empty() {
            self.send(Bytes::copy_from_slice(bytes));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send(Bytes::new());
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.send(Bytes::new());
        let mut read = lock(&self.read);
        read.unread = true;
        read.wake();
    }
}
