//! The provider conformance suite: what every provider has to show, against its platform.
//!
//! The contract stands in `portolan_provider_api`; here each of its promises is a check, a function with one sentence that
//! says what holds. A check goes straight at the calls where the promise is the provider's alone, and through the real engine
//! where it is one of both. To have a new provider checked, write an [`Account`] of its platform, and say
//!
//! ```text
//! portolan_conformance::conformance!(MyAccount);
//! ```
//!
//! which makes a test of each check, none left out. What the platform has no way to show the account answers with a reason,
//! and a reason does not excuse what the suite sees happen all the same.
//!
//! Read [`account`] first, then any file of [`checks`]; [`hand`] is what they drive the calls with.

pub mod account;
pub mod apps;
pub mod bench;
pub mod checks;
pub mod fields;
pub mod hand;
pub mod images;
pub mod recorder;

pub use account::{Account, Cannot, Request, Trouble};
pub use bench::Bench;

/// Runs one check on an account of its own.
pub async fn run<A: Account>(check: &'static str, body: impl AsyncFnOnce(&mut Bench<A>)) {
    let Some(account) = A::new(check).await else { return };
    let mut bench = Bench::new(account);
    body(&mut bench).await;
    bench.close().await;
}

/// A test of each check for one [`Account`]; after it, what `#[tokio::test]` shall be told, such as `start_paused = true`.
#[macro_export]
macro_rules! conformance {
    ($account:ty $(, $($attribute:tt)*)?) => {
        $crate::conformance! { @each [$account] [$($($attribute)*)?]
            what_is_created_twice_is_there_once
            what_is_deleted_twice_is_gone
            data_outlives_a_delete_until_it_is_erased
            a_call_that_is_dropped_half_way_is_told_by_the_next_look
            a_look_changes_nothing
            a_part_is_never_told_as_the_whole
            what_fails_is_told_with_its_cause
            what_is_foreign_is_told_and_left_alone
            what_another_source_wrote_is_told_and_left_alone
            what_somebody_wrote_since_is_not_overwritten
            names_are_a_function_injective_and_taken
            the_same_is_rendered_for_the_same
            what_the_platform_fills_in_is_no_difference
            failures_are_told_as_what_they_are
            no_request_is_sent_twice_in_a_call
            a_long_operation_is_taken_up_by_its_handle
            a_lost_journal_is_rebuilt_from_the_tags
            what_is_held_is_remembered_by_the_target
            a_job_is_not_repeated
            a_delete_leaves_nothing_but_data
            the_table_names_every_field
            what_the_table_calls_exact_is_observed
            what_the_table_calls_impossible_is_refused
        }
    };
    (@each [$account:ty] $attributes:tt $($check:ident)*) => {
        $($crate::conformance! { @one [$account] $attributes $check })*
    };
    (@one [$account:ty] [$($attribute:tt)*] $check:ident) => {
        #[tokio::test($($attribute)*)]
        async fn $check() {
            $crate::run::<$account>(stringify!($check), $crate::checks::$check).await;
        }
    };
}
