//! Two instances on one database: what one of them writes is in force on the other within a second.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../../store/tests/postgres/mod.rs"]
#[expect(dead_code, reason = "the server is that of the store's tests")]
mod postgres;
#[expect(dead_code, reason = "the support is that of all files")]
mod support;

use std::sync::Arc;
use std::time::Duration;

use doorward_core::clock::{Clock, SystemClock};
use doorward_core::store::Store;
use doorward_proxy::Proxy;
use postgres::Cluster;
use support::{ROBOT, admit, ask, id_token, register, stack};

/// What one instance writes is in force on every other after this long at most.
const LIMIT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_instance_writes_is_in_force_on_the_other_within_a_second() {
    let database = Cluster::shared().database().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stores: [Arc<dyn Store>; 2] = [Arc::new(database.open().await), Arc::new(database.open().await)];
    let keys = register(&*stores[0], &*clock).await;
    let stacks = [stack(stores[0].clone(), clock.clone()).await, stack(stores[1].clone(), clock.clone()).await];
    let proxies = [0, 1].map(|number: usize| Proxy::new(stacks[number].proxy.clone()));
    let token = id_token(&keys, &*clock, 0);
    let robot = format!("serviceAccount:{ROBOT}");
    let members: [&[&str]; 2] = [&[&robot], &[]];
    let statuses = [200, 403];
    for round in 0..10 {
        // Who writes and who is asked take turns, and so does what is written.
        let (writer, change) = (round / 2 % 2, round % 2);
        admit(&*stores[writer], members[change]).await;
        for (number, proxy) in proxies.iter().enumerate() {
            let in_force = async { while ask(proxy, &token).await.0 != statuses[change] {} };
            let seen = tokio::time::timeout(LIMIT, in_force).await;
            assert!(seen.is_ok(), "round {round}: instance {writer} wrote, instance {number} does not know");
        }
    }
}
