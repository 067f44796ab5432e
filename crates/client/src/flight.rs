//! One question at a time: whoever wants the same answer waits for the one that is under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// What answers the question.
pub(crate) type Question<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// At most one question under way.
pub(crate) struct Flight<T>(Mutex<Option<watch::Receiver<Option<T>>>>);

/// The end of a flight.
pub(crate) struct Landing<T>(watch::Receiver<Option<T>>);

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Flight(Mutex::new(None))
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Joins the flight that is under way, or starts one in a task of its own: it ends, and its answer is kept, also if
    /// everybody who waits gives up. `landed` is looked at first, with no flight under way: `Err` is what it gives.
    ///
    /// Only within a Tokio runtime.
    pub(crate) fn join<R>(
        self: &Arc<Self>,
        landed: impl FnOnce() -> Option<R>,
        question: impl FnOnce() -> Question<T>,
    ) -> Result<Landing<T>, R> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = running.as_ref().filter(|receiver| is_under_way(receiver)) {
            return Ok(Landing(receiver.clone()));
        }
        // A flight stores its answer before it is over: none is started for what has just come.
        if let Some(there) = landed() {
            return Err(there);
        }
        let (sender, receiver) = watch::channel(None);
        *running = Some(receiver.clone());
        let (flight, question) = (self.clone(), question());
        tokio::spawn(async move {
            let answer = question.await;
            *flight.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
            sender.send_replace(Some(answer));
        });
        Ok(Landing(receiver))
    }

    /// The flight that is under way.
    pub(crate) fn under_way(&self) -> Option<Landing<T>> {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().filter(|receiver| is_under_way(receiver)).cloned().map(Landing)
    }
}

/// Not if its runtime was shut down before the answer came.
fn is_under_way<T>(receiver: &watch::Receiver<Option<T>>) -> bool {
    receiver.has_changed().is_ok()
}

impl<T: Clone> Landing<T> {
    /// The answer; `None` if the runtime in which it was awaited is gone.
    pub(crate) async fn wait(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}
