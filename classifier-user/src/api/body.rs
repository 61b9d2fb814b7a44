//! An answer's body that is made while it is read: whoever makes it goes on only as fast as it is read.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame};
use tokio::sync::mpsc;

/// Pieces of a body, as they come. After an error the connection is cut, so that nobody takes a part for the whole.
pub(super) struct Pieces<E>(pub(super) mpsc::Receiver<Result<Bytes, E>>);

impl<E> hyper::body::Body for Pieces<E> {
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
