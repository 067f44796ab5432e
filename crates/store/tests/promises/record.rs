//! The record of decisions.

use doorward_core::audit::{ChainLink, verify_chain};

use super::{AnyStore, at_once};
use crate::samples::*;

pub(crate) async fn the_record_keeps_its_order_and_is_read_from_both_ends(store: AnyStore) {
    let kinds = [allowed, refused, token_event];
    let events: Vec<_> = (0..200).map(|n| kinds[n % 3](&format!("{n}"))).collect();
    store.append(&events[..2], 1000).await.unwrap();
    store.append(&[], 1000).await.unwrap();
    store.append(&events[2..], 1000).await.unwrap();
    let all = store.events_after(0, 1000).await.unwrap();
    assert_eq!(all.iter().map(|stored| stored.event.clone()).collect::<Vec<_>>(), events);
    assert!(all.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1), "{all:?}");
    assert_eq!(store.events_after(all[1].sequence, 2).await.unwrap(), all[2..4]);
    assert_eq!(store.events_after(all[199].sequence, 2).await.unwrap(), []);
    assert_eq!(store.latest_events(2).await.unwrap(), all[198..]);
    assert_eq!(store.latest_events(1000).await.unwrap(), all);
}

pub(crate) async fn the_record_keeps_the_newest_and_never_gives_a_number_again(store: AnyStore) {
    let append = async |names: &[&str], keep| {
        let events: Vec<_> = names.iter().map(|name| allowed(name)).collect();
        store.append(&events, keep).await.unwrap();
        store.events_after(0, 100).await.unwrap()
    };
    let ids = |events: &[doorward_core::audit::StoredEvent]| -> Vec<String> {
        let id = |event: &doorward_core::audit::AuditEvent| serde_json::to_value(event).unwrap()["id"].clone();
        events.iter().map(|stored| id(&stored.event).as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&append(&["a", "b", "c", "d"], 3).await), ["b", "c", "d"]);
    let kept = append(&["e"], 3).await;
    assert_eq!(ids(&kept), ["c", "d", "e"]);
    assert_eq!(append(&["f"], 0).await, []);
    let last = append(&["g"], u64::MAX).await;
    assert_eq!(ids(&last), ["g"]);
    assert_eq!(last[0].sequence, kept[2].sequence + 2, "f had a number of its own");
}

pub(crate) async fn batches_that_are_appended_at_once_stay_whole_and_are_all_there(store: AnyStore) {
    at_once(20, |n| {
        let store = store.clone();
        let batch: Vec<_> = (0..5).map(|m| allowed(&format!("{n}-{m}"))).collect();
        async move {
            store.append(&batch, 1000).await.unwrap();
            store.add_user(&user(&format!("{n}"), &format!("u{n}@example.com"))).await.unwrap()
        }
    })
    .await;
    let stored = store.events_after(0, 1000).await.unwrap();
    let mut batches: Vec<Vec<_>> =
        stored.chunks(5).map(|batch| batch.iter().map(|s| s.event.clone()).collect()).collect();
    batches.sort_by_key(|batch| serde_json::to_string(&batch[0]).unwrap());
    let mut expected: Vec<Vec<_>> = (0..20).map(|n| (0..5).map(|m| allowed(&format!("{n}-{m}"))).collect()).collect();
    expected.sort_by_key(|batch: &Vec<_>| serde_json::to_string(&batch[0]).unwrap());
    assert_eq!(batches, expected);
    assert_eq!(store.users().await.unwrap().len(), 20);
}

/// Checks the whole record, in pages, and gives the end of the chain.
async fn verified(store: &AnyStore) -> ChainLink {
    let mut end = store.chain_start().await.unwrap();
    loop {
        let page = store.raw_events_after(end.sequence, 3).await.unwrap();
        if page.is_empty() {
            return end;
        }
        end = verify_chain(end, page).unwrap();
    }
}

pub(crate) async fn the_record_is_a_chain_whoever_appends_and_whatever_is_forgotten(store: AnyStore) {
    assert_eq!(store.chain_start().await.unwrap(), ChainLink::start());
    store.append(&[allowed("a"), admin("b", 2), token_event("c"), refused("d")], 1000).await.unwrap();
    assert_eq!(verified(&store).await.sequence, 4);
    at_once(12, |n| {
        let store = store.clone();
        let batch: Vec<_> = (0..7).map(|m| admin(&format!("{n}-{m}"), 3)).collect();
        async move { store.append(&batch, 1000).await.unwrap() }
    })
    .await;
    let end = verified(&store).await;
    assert_eq!(end.sequence, 88);
    let newest = store.latest_events(1).await.unwrap();
    assert_eq!((newest[0].sequence, &newest[0].hash), (88, &end.hash));

    // (appended, kept) => (what the oldest is chained to, the newest)
    for (n, (size, keep, start, last)) in
        [(1, 50, 39, 89), (3, 2, 90, 92), (2, 0, 94, 94), (1, 9, 94, 95)].into_iter().enumerate()
    {
        let before = verified(&store).await;
        let batch: Vec<_> = (0..size).map(|m| refused(&format!("x{n}-{m}"))).collect();
        store.append(&batch, keep).await.unwrap();
        assert_eq!(store.chain_start().await.unwrap().sequence, start, "{n}");
        let end = verified(&store).await;
        assert_eq!(end.sequence, last, "{n}");
        assert_ne!(end.hash, before.hash, "{n}");
    }
}

pub(crate) async fn an_event_is_found_by_its_id(store: AnyStore) {
    store.append(&[allowed("a"), admin("b'", 2), refused("c")], 2).await.unwrap();
    assert_eq!(store.event("b'").await.unwrap().unwrap().event.id(), "b'");
    for gone in ["a", "d", ""] {
        assert_eq!(store.event(gone).await.unwrap(), None, "{gone}");
    }
}

pub(crate) async fn events_are_forgotten_by_age_up_to_the_first_that_is_younger(store: AnyStore) {
    let batch: Vec<_> = [10, 20, 15, 30, 25, 40].iter().map(|time| admin(&format!("at {time}"), *time)).collect();
    store.append(&batch, 1000).await.unwrap();
    // (since) => the number before the first that is not older
    for (since, expected) in [(0, 0), (10, 0), (11, 1), (20, 1), (21, 3), (31, 5), (40, 5), (41, 6)] {
        assert_eq!(store.sequence_before(at(since)).await.unwrap(), expected, "{since}");
    }
    // (before) => (forgotten, left)
    for (before, forgotten, left) in [(10, 0, 6), (21, 3, 3), (21, 0, 3), (31, 2, 1), (99, 1, 0), (99, 0, 0)] {
        assert_eq!(store.forget_events(at(before)).await.unwrap(), forgotten, "{before}");
        assert_eq!(store.events_after(0, 100).await.unwrap().len(), left, "{before}");
        assert_eq!(verified(&store).await.sequence, 6, "{before}");
    }
    let many: Vec<_> = (0..2500).map(|n| admin(&format!("{n}"), 50)).collect();
    store.append(&many, 10_000).await.unwrap();
    store.append(&[admin("young", 60)], 10_000).await.unwrap();
    assert_eq!(store.forget_events(at(60)).await.unwrap(), 2500);
    assert_eq!(store.chain_start().await.unwrap().sequence, 2506);
    assert_eq!(verified(&store).await.sequence, 2507);
}
