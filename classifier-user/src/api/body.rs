//! Bodies: an answer's that is made while it is read, so that whoever makes it goes on only as fast as it is read; and a
//! request's that is heard out though nobody wants it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How much of a request nobody wants is heard.
const HEARD_BYTES: usize = 1 << 20;
/// And for how long.
const HEARD_FOR: Duration = Duration::from_secs(2);

/// Pieces of a body, as they come. After an error the connection is cut, so that nobody takes a part for the whole.
pub(super) struct Pieces<E>(pub(super) mpsc::Receiver<Result<Bytes, E>>);

impl<E> Body for Pieces<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// A request's body. Who is answered before all of it was read, because it may not ask, is still heard out, within limits:
/// a connection that is closed while bytes come in is reset, and the answer may be lost with it.
pub(super) struct Heard(Option<Incoming>);

impl Heard {
    pub(super) const fn out(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for Heard {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.0.as_ref().map(Body::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let rest = self.0.take().filter(|body| !body.is_end_stream());
        let (Some(mut rest), Ok(runtime)) = (rest, Handle::try_current()) else {
            return;
        };
        runtime.spawn(timeout(HEARD_FOR, async move {
            let mut heard = 0;
            while let Some(Ok(frame)) = rest.frame().await
                && heard < HEARD_BYTES
            {
                heard += frame.data_ref().map_or(0, Bytes::len);
            }
        }));
    }
}
