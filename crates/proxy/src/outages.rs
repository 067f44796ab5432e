//! Which applications cannot be reached: the log says it when that begins and when it ends, and not for each request.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use doorward_core::resource::Application;

use crate::refusal::UpstreamFailure;

/// Shared by all workers.
#[derive(Default)]
pub(crate) struct Outages {
    /// Whether there is one: what is asked for each request that was answered.
    any: AtomicBool,
    /// The numbers of the applications.
    out: Mutex<BTreeSet<String>>,
}

impl Outages {
    /// No address of an application took a request. `true` if that is new, and was said.
    pub(crate) fn begins(&self, application: &Application, cause: &UpstreamFailure) -> bool {
        let mut out = self.lock();
        let new = out.insert(application.service_id.clone());
        self.any.store(true, Ordering::Relaxed);
        drop(out);
        if new {
            tracing::warn!("the application {} cannot be reached: {cause}", application.name);
        }
        new
    }

    /// An address of an application answered. `true` if it could not be reached before, and that was said.
    pub(crate) fn ends(&self, application: &Application) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let mut out = self.lock();
        let was_out = out.remove(&application.service_id);
        self.any.store(!out.is_empty(), Ordering::Relaxed);
        drop(out);
        if was_out {
            tracing::warn!("the application {} answers again", application.name);
        }
        was_out
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::application;

    #[test]
    fn an_outage_is_told_when_it_begins_and_when_it_ends_and_not_for_each_request() {
        let outages = Outages::default();
        let one = application();
        let other = Application { service_id: "2".to_owned(), ..one.clone() };
        let cause = UpstreamFailure::TimedOut;
        assert!(!outages.ends(&one), "it was never out");
        // (which, whether it answered) => whether that is told
        let cases = [
            (&one, false, true),
            (&one, false, false),
            (&other, false, true),
            (&one, true, true),
            (&one, true, false),
            (&other, false, false),
            (&other, true, true),
            (&one, false, true),
        ];
        for (number, (application, answered, told)) in cases.into_iter().enumerate() {
            let was_told = if answered { outages.ends(application) } else { outages.begins(application, &cause) };
            assert_eq!(was_told, told, "{number}");
        }
    }
}
