//! Slows those who guess: failures are counted for each account and for each address.
//!
//! Where the client of a request is not known, because whoever ends TLS before us does not say it or is not believed, nothing is
//! counted for its address: that would be everybody's, and one stranger could keep all others out.
//!
//! In memory, and bounded: what is forgotten under pressure is the least used. A restart forgives, and each of several
//! instances counts for itself.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use doorward_core::clock::Timestamp;
use quick_cache::sync::Cache;

use crate::admin::Peer;

/// Failures that cost nothing: people mistype.
const FREE: u32 = 5;
/// The wait after the first failure that is not free; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait. An account is never locked for good, or anybody could lock out anybody.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// An address may stand for many people, and an account may be guessed at from many addresses: more failures are free.
const FREE_OF_MANY: u32 = 50;
/// The failures of one address at one account are forgotten after this long without one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);
/// Of failures that are counted for many together, one is forgotten each time this long has passed. One guesser alone is slower
/// than that, once they wait, and so cannot keep everybody else waiting.
const ONE_FORGOTTEN_EACH: Duration = Duration::from_secs(30);
/// Accounts and addresses of which failures are remembered.
const REMEMBERED: usize = 100_000;

/// Questions of strangers that cost us a row in the store: this many are free for an address.
const QUESTIONS_FREE: u32 = 100;
/// And this is how long each of them is counted.
const QUESTION_FORGOTTEN_AFTER: Duration = Duration::from_secs(1);
/// Of clients whose address is not known, together: so many that people do not meet the limit, and the store has an end.
const QUESTIONS_FREE_OF_ALL: u32 = 2_000;
/// And this is how long each of those is counted.
const QUESTION_OF_ALL_FORGOTTEN_AFTER: Duration = Duration::from_millis(50);

/// What is guessed at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Guessed {
    /// The password of the person with this address, in its one spelling; whether there is such a person does not matter.
    Password(String),
    /// The secret of this client.
    ClientSecret(String),
    /// The code that a device shows.
    UserCode,
}

/// Too many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failures for this account or from this address; the next try is in {} s", wait.as_secs())]
pub struct Throttled {
    /// How long to wait: whole seconds, at least one.
    pub wait: Duration,
}

impl Guessed {
    fn kind(&self) -> Kind {
        match self {
            Guessed::Password(_) => Kind::Password,
            Guessed::ClientSecret(_) => Kind::ClientSecret,
            Guessed::UserCode => Kind::UserCode,
        }
    }
}

/// What is guessed at by one address is counted by kind: who mistypes a code is not kept from signing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Password,
    ClientSecret,
    UserCode,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// What is guessed at, by this address: one stranger does not slow the owner, who comes from elsewhere.
    AccountFrom(Guessed, IpAddr),
    /// What is guessed at, by everybody.
    Account(Guessed),
    /// Everything of a kind, by this address.
    Address(Kind, IpAddr),
    /// Questions by this address, or by all whose address is not known.
    Questions(Option<IpAddr>),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
    /// When the last of them will be forgotten, if they are forgotten one by one.
    drained: Timestamp,
}

impl Failures {
    const NONE: Failures = Failures { count: 0, last: Timestamp::from_micros(0), drained: Timestamp::from_micros(0) };

    /// How many are remembered at `now`.
    fn remembered(self, count: &Count, now: Timestamp) -> u32 {
        match count {
            // The clock went back. What it says of then would keep people out until it has caught up.
            _ if self.last > now => 0,
            Count::Alone(_) if now.since(self.last) < FORGOTTEN_AFTER => self.count,
            Count::Alone(_) => 0,
            Count::Many(_) => {
                let left = self.drained.since(now).as_micros().div_ceil(ONE_FORGOTTEN_EACH.as_micros());
                u32::try_from(left).unwrap_or(u32::MAX)
            }
        }
    }

    fn and_one(self, count: &Count, now: Timestamp) -> Self {
        let before = if self.last > now { now } else { self.drained.max(now) };
        Failures {
            count: self.remembered(count, now).saturating_add(1),
            last: now,
            drained: before + ONE_FORGOTTEN_EACH,
        }
    }
}

/// A count that a guess touches.
enum Count {
    /// Of one guesser at one account.
    Alone(Key),
    /// Of many together.
    Many(Key),
}

impl Count {
    fn key(&self) -> &Key {
        match self {
            Count::Alone(key) | Count::Many(key) => key,
        }
    }

    fn free(&self) -> u32 {
        match self {
            Count::Alone(_) => FREE,
            Count::Many(_) => FREE_OF_MANY,
        }
    }
}

/// Counts failures.
pub struct Throttle {
    failures: Cache<Key, Failures>,
    /// Accounts, with the addresses from which their owners came in: what others fail at does not slow them there.
    owners: Cache<(Guessed, IpAddr), ()>,
    /// Held while a count is read and written: of failures at one moment each counts.
    counting: Mutex<()>,
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle { failures: Cache::new(REMEMBERED), owners: Cache::new(REMEMBERED), counting: Mutex::new(()) }
    }
}

impl Throttle {
    /// Whether a guess may be tried at `now`. To be asked before the secret is looked at, so that guesses made while waiting
    /// tell nothing.
    pub fn admit(&self, guessed: &Guessed, peer: impl Into<Peer>, now: Timestamp) -> Result<(), Throttled> {
        let peer = peer.into();
        let owner = self.is_owner(guessed, peer);
        let counts =
            counts(guessed, network(peer)).into_iter().filter(|count| !owner || matches!(count, Count::Alone(_)));
        told(counts.filter_map(|count| self.wait(&count, now)).max())
    }

    /// Whether somebody came in from this address with what is guessed at.
    pub fn is_owner(&self, guessed: &Guessed, peer: impl Into<Peer>) -> bool {
        network(peer.into()).is_some_and(|network| self.owners.get(&(guessed.clone(), network)).is_some())
    }

    /// Whether a question may be asked that costs us a row in the store, and counts it.
    pub fn ask(&self, peer: impl Into<Peer>, now: Timestamp) -> Result<(), Throttled> {
        let network = network(peer.into());
        let (free, forgotten_after) = match network {
            Some(_) => (QUESTIONS_FREE, QUESTION_FORGOTTEN_AFTER),
            None => (QUESTIONS_FREE_OF_ALL, QUESTION_OF_ALL_FORGOTTEN_AFTER),
        };
        let key = Key::Questions(network);
        let _counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.failures.get(&key).filter(|before| before.last <= now).unwrap_or(Failures::NONE);
        let drained = before.drained.max(now) + forgotten_after;
        let over = drained.since(now).checked_sub(forgotten_after * free);
        told(over.filter(|over| !over.is_zero()))?;
        self.failures.insert(key, Failures { count: 0, last: now, drained });
        Ok(())
    }

    /// Counts a failure.
    pub fn failed(&self, guessed: &Guessed, peer: impl Into<Peer>, now: Timestamp) {
        let network = network(peer.into());
        let _counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        for count in counts(guessed, network) {
            let before = self.failures.get(count.key()).unwrap_or(Failures::NONE);
            self.failures.insert(count.key().clone(), before.and_one(&count, now));
        }
    }

    /// Forgets the failures of the one who succeeded. What others failed at, and what this address failed at elsewhere, stays:
    /// an own account must not be a way to start counting anew.
    pub fn succeeded(&self, guessed: &Guessed, peer: impl Into<Peer>) {
        let Some(network) = network(peer.into()) else { return };
        self.failures.remove(&Key::AccountFrom(guessed.clone(), network));
        self.owners.insert((guessed.clone(), network), ());
    }

    fn wait(&self, count: &Count, now: Timestamp) -> Option<Duration> {
        let failures = self.failures.get(count.key())?;
        let doublings = failures.remembered(count, now).checked_sub(count.free())?;
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT);
        wait.checked_sub(now.since(failures.last)).filter(|rest| !rest.is_zero())
    }
}

/// The counts that a guess touches.
fn counts(guessed: &Guessed, network: Option<IpAddr>) -> Vec<Count> {
    let of_address = network.map(|network| {
        [Count::Alone(Key::AccountFrom(guessed.clone(), network)), Count::Many(Key::Address(guessed.kind(), network))]
    });
    let mut counts: Vec<Count> = of_address.into_iter().flatten().collect();
    match guessed {
        // A hundred machines that guess at one account are slowed too.
        Guessed::Password(_) => counts.push(Count::Many(Key::Account(guessed.clone()))),
        // A secret of 256 bits is not guessed by any number of machines, and its owner is never slowed. Codes of devices are of
        // everybody: to count them together would let one keep all others out.
        Guessed::ClientSecret(_) | Guessed::UserCode => {}
    }
    counts
}

/// Whole seconds, rounded up: whoever waits as long as they are told is admitted.
fn told(wait: Option<Duration>) -> Result<(), Throttled> {
    let Some(wait) = wait else { return Ok(()) };
    let seconds = u64::try_from(wait.as_micros().div_ceil(1_000_000)).unwrap_or(LONGEST_WAIT.as_secs());
    Err(Throttled { wait: Duration::from_secs(seconds) })
}

/// What is counted for one client, if it is known who that is: who has one IPv6 address has 2^64 of them, and a household up to 256
/// such networks.
fn network(peer: Peer) -> Option<IpAddr> {
    let network = match peer.address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & (u128::MAX << 72))),
        address @ IpAddr::V4(_) => address,
    };
    Some(network).filter(|_| peer.is_client)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn alice() -> Guessed {
        Guessed::Password("alice@example.com".into())
    }

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_guesser_waits_longer_each_time_and_an_owner_elsewhere_does_not() {
        let throttle = Throttle::default();
        for _ in 0..4 {
            throttle.failed(&alice(), peer(1), NOW);
        }
        assert_eq!(throttle.admit(&alice(), peer(1), NOW), Ok(()), "people mistype");
        let mut waits = Vec::new();
        let mut now = NOW;
        for _ in 0..8 {
            throttle.failed(&alice(), peer(1), now);
            let Err(Throttled { wait }) = throttle.admit(&alice(), peer(1), now) else { panic!("a wait") };
            waits.push(wait.as_secs());
            now = now + wait;
            assert_eq!(throttle.admit(&alice(), peer(1), now), Ok(()), "after {wait:?}");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        throttle.failed(&alice(), peer(1), now);
        assert!(throttle.admit(&alice(), peer(1), now).is_err());
        assert_eq!(throttle.admit(&alice(), peer(2), now), Ok(()), "another address");
        assert_eq!(
            throttle.admit(&Guessed::Password("bob@example.com".into()), peer(1), now),
            Ok(()),
            "another account"
        );
        assert_eq!(throttle.admit(&alice(), peer(1), now + FORGOTTEN_AFTER), Ok(()), "forgotten");
    }

    #[test]
    fn one_who_guesses_without_end_does_not_keep_the_owner_waiting() {
        let throttle = Throttle::default();
        let mut now = NOW;
        let mut owner_waits = 0;
        for _ in 0..7_200 {
            if throttle.admit(&alice(), peer(1), now).is_ok() {
                throttle.failed(&alice(), peer(1), now);
            }
            owner_waits += u32::from(throttle.admit(&alice(), peer(2), now).is_err());
            now = now + Duration::from_secs(1);
        }
        assert_eq!(owner_waits, 0);
    }

    #[test]
    fn an_owner_who_came_in_before_is_slowed_by_nobody_else_from_there() {
        let throttle = Throttle::default();
        let mut now = NOW;
        throttle.succeeded(&alice(), peer(200));
        let mut waits = [0; 2];
        // Twelve networks, each trying as often as it is let, and so many that the shared count is always full.
        for _ in 0..600 {
            for number in 1..=12 {
                if throttle.admit(&alice(), peer(number), now).is_ok() {
                    throttle.failed(&alice(), peer(number), now);
                }
            }
            waits[0] += u32::from(throttle.admit(&alice(), peer(200), now).is_err());
            waits[1] += u32::from(throttle.admit(&alice(), peer(201), now).is_err());
            now = now + Duration::from_secs(1);
        }
        assert_eq!(waits[0], 0);
        assert!(waits[1] > 0, "who was never there is slowed with them");
        // Somebody else behind the same address guesses at others.
        for number in 0..100 {
            throttle.failed(&Guessed::Password(format!("user{number}@example.com")), peer(200), now);
        }
        assert_eq!(throttle.admit(&alice(), peer(200), now), Ok(()));
        assert!(throttle.admit(&Guessed::Password("new@example.com".into()), peer(200), now).is_err());
        // And at her too: then it may be anybody.
        for _ in 0..6 {
            throttle.failed(&alice(), peer(200), now);
        }
        assert!(throttle.admit(&alice(), peer(200), now).is_err());
    }

    #[test]
    fn a_clock_that_goes_back_keeps_nobody_out() {
        let throttle = Throttle::default();
        for _ in 0..100 {
            throttle.failed(&alice(), peer(1), NOW);
            let _ = throttle.ask(peer(1), NOW);
        }
        let earlier = Timestamp::from_seconds(NOW.seconds() - 86_400);
        assert_eq!(throttle.admit(&alice(), peer(1), earlier), Ok(()));
        assert_eq!(throttle.ask(peer(1), earlier), Ok(()));
        for _ in 0..6 {
            throttle.failed(&alice(), peer(1), earlier);
        }
        let Err(Throttled { wait }) = throttle.admit(&alice(), peer(1), earlier) else { panic!("it counts anew") };
        assert!(wait.as_secs() <= 2, "{wait:?}");
    }

    #[test]
    fn questions_are_free_up_to_a_number_and_then_one_a_second() {
        let throttle = Throttle::default();
        let ask = |last: u8, seconds: u64| throttle.ask(peer(last), NOW + Duration::from_secs(seconds)).is_ok();
        assert_eq!((0..150).filter(|_| ask(1, 0)).count(), 100);
        assert_eq!([ask(1, 1), ask(1, 1), ask(1, 2), ask(2, 2)], [true, false, true, true]);
        assert_eq!((0..150).filter(|_| ask(1, 1_000)).count(), 100);
    }

    #[test]
    fn one_password_for_many_people_and_many_addresses_for_one_person_are_slowed_too() {
        let spray = Throttle::default();
        for number in 0..60 {
            spray.failed(&Guessed::Password(format!("user{number}@example.com")), peer(1), NOW);
        }
        assert!(spray.admit(&Guessed::Password("next@example.com".into()), peer(1), NOW).is_err());
        assert_eq!(spray.admit(&Guessed::Password("next@example.com".into()), peer(2), NOW), Ok(()));

        let swarm = Throttle::default();
        for number in 0..60 {
            swarm.failed(&alice(), peer(number), NOW);
        }
        assert!(swarm.admit(&alice(), peer(200), NOW).is_err());
        assert_eq!(swarm.admit(&Guessed::Password("bob@example.com".into()), peer(200), NOW), Ok(()));
    }

    #[test]
    fn a_success_is_no_way_to_go_on_guessing_at_others() {
        let throttle = Throttle::default();
        let own = Guessed::Password("mallory@example.com".into());
        for number in 0..60 {
            throttle.failed(&Guessed::Password(format!("user{number}@example.com")), peer(1), NOW);
            throttle.succeeded(&own, peer(1));
        }
        assert!(throttle.admit(&alice(), peer(1), NOW).is_err());
    }

    #[test]
    fn behind_somebody_who_does_not_say_who_the_client_is_strangers_keep_nobody_out() {
        let throttle = Throttle::default();
        let proxy = Peer { address: peer(1), is_client: false };
        for number in 0..200 {
            throttle.failed(&Guessed::Password(format!("user{number}@example.com")), proxy, NOW);
            throttle.failed(&Guessed::ClientSecret("c".into()), proxy, NOW);
            throttle.failed(&Guessed::UserCode, proxy, NOW);
            let _ = throttle.ask(proxy, NOW);
        }
        for guessed in [alice(), Guessed::ClientSecret("c".into()), Guessed::UserCode] {
            assert_eq!(throttle.admit(&guessed, proxy, NOW), Ok(()), "{guessed:?}");
        }
        assert_eq!(throttle.ask(proxy, NOW), Ok(()));
        // Guesses at one account are counted still, and that somebody came in from there makes nobody an owner.
        throttle.succeeded(&alice(), proxy);
        assert!(!throttle.is_owner(&alice(), proxy));
        for _ in 0..60 {
            throttle.failed(&alice(), proxy, NOW);
        }
        assert!(throttle.admit(&alice(), proxy, NOW).is_err());
        // What costs a row in the store has an end.
        assert!((0..3_000).any(|_| throttle.ask(proxy, NOW).is_err()));
    }

    #[test]
    fn an_address_has_one_spelling_and_an_ipv6_network_is_one_guesser() {
        let throttle = Throttle::default();
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        for number in 1..=6 {
            throttle.failed(&alice(), of(&format!("2001:db8::{number}")), NOW);
            throttle.failed(&Guessed::ClientSecret("c".into()), of("::ffff:192.0.2.1"), NOW);
        }
        assert!(throttle.admit(&alice(), of("2001:db8::ffff"), NOW).is_err());
        assert!(throttle.admit(&alice(), of("2001:db8:0:ff::1"), NOW).is_err());
        assert_eq!(throttle.admit(&alice(), of("2001:db8:0:100::1"), NOW), Ok(()));
        assert!(throttle.admit(&Guessed::ClientSecret("c".into()), of("192.0.2.1"), NOW).is_err());
    }
}
