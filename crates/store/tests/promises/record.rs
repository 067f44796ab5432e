//! The record of decisions.

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
